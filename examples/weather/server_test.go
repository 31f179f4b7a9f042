// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight"
)

func TestReadThrough(t *testing.T) {
	f := start(t)
	names := strings.Fields("Tokyo Paris London New_York São_Paulo St._John's Xi'an")
	for i, name := range names {
		name = strings.ReplaceAll(name, "_", " ")
		for _, want := range []string{"load", "cache", "cache"} {
			a := f.get("/city/" + url.PathEscape(name)).answer(t)
			if a.City != name || a.Source != want || a.Shared || a.At.IsZero() {
				t.Errorf("GET %s = %+v, want it from the %s", name, a, want)
			}
		}
		f.wantQueries(t, int64(i+1))
	}
	if n := strings.Count(cities, "\n"); n < 300 {
		t.Errorf("%d cities, want a few hundred", n)
	}
}

// TestColdCity holds the one query until as many clients as possible have arrived.
// The rest come after it. TestRedisColdCity has ten thousand clients at once.
func TestColdCity(t *testing.T) {
	var g gate
	f := start(t, hold(&g))
	const requests, conns = 10_000, 200
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: conns, MaxIdleConnsPerHost: conns}}
	defer client.CloseIdleConnections()
	stampede(t, f, &g, requests, conns, func(int) *http.Client { return client })
	f.wantQueries(t, 1)
}

// http2 makes f speak HTTP/2 without TLS, so that a connection carries many
// requests at a time.
func http2(f *service) {
	f.srv.Protocols = new(http.Protocols)
	f.srv.Protocols.SetHTTP1(true)
	f.srv.Protocols.SetUnencryptedHTTP2(true)
}

// stampedeAtOnce sends 10,000 concurrent requests for Tokyo, on 200 connections.
func stampedeAtOnce(t *testing.T, f *service, g *gate) {
	t.Helper()
	const requests, conns = 10_000, 200
	clients := make([]*http.Client, conns)
	for i := range clients {
		var p http.Protocols
		p.SetUnencryptedHTTP2(true)
		clients[i] = &http.Client{Transport: &http.Transport{Protocols: &p}}
		defer clients[i].CloseIdleConnections()
	}
	stampede(t, f, g, requests, requests, func(i int) *http.Client { return clients[i%conns] })
}

// stampede sends requests for Tokyo, atOnce of them at a time, and lets the query
// continue when they have joined its flight.
func stampede(t *testing.T, f *service, g *gate, requests, atOnce int, client func(i int) *http.Client) {
	t.Helper()
	before := f.flights.Stats().Joined
	const patience = 6 * patience // the race detector makes this slow
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	var sent, good atomic.Int64
	for range atOnce {
		wg.Go(func() {
			for i := sent.Add(1); i <= int64(requests); i = sent.Add(1) {
				resp := send(ctx, client(int(i)), "GET", f.url+"/city/Tokyo", "")
				if resp.err != nil || resp.status != http.StatusOK || !strings.HasPrefix(resp.body, `{"city":"Tokyo","celsius":`) {
					t.Errorf("status %d, error %v, body %q", resp.status, resp.err, resp.body)
					return
				}
				good.Add(1)
			}
		})
	}
	q := g.next(t)
	within(t, patience, "all have joined", func() bool { return f.flights.Stats().Joined == before+uint64(atOnce-1) })
	q.pass()
	wg.Wait()
	if good.Load() != int64(requests) {
		t.Errorf("%d requests were answered, want %d", good.Load(), requests)
	}
}

// TestSecondLook lets a request miss the cache, and continue when the flight that
// it missed has ended.
func TestSecondLook(t *testing.T) {
	missed, goOn := make(chan bool), make(chan bool)
	var first atomic.Bool
	h := &hooks{afterGet: func(hit bool) {
		if first.CompareAndSwap(false, true) {
			missed <- hit
			<-goOn
		}
	}}
	f := start(t, h.into)
	late := f.goGet("/city/Tokyo")
	if hit := <-missed; hit {
		t.Fatal("the cache is not empty")
	}
	if a := f.get("/city/Tokyo").answer(t); a.Source != "load" {
		t.Errorf("source %q, want load", a.Source)
	}
	close(goOn)
	if a := (<-late).answer(t); a.Source != "cache" {
		t.Errorf("second look: source %q, want cache", a.Source)
	}
	f.wantQueries(t, 1)
}

// hooks let a test observe and delay the steps of a service's cache.
type hooks struct {
	afterGet   func(hit bool)
	beforeDrop func()
	miss       atomic.Bool // makes the next Get of the memory find nothing
}

func (h *hooks) into(f *service) {
	if f.redis != nil {
		f.redis = hookedShared{f.redis, h}
	} else {
		f.memory = hookedMemory{f.memory, h}
	}
}

type hookedMemory struct {
	singleflight.Cache[key, answer]
	*hooks
}

func (h hookedMemory) Get(k key) (answer, bool) {
	if h.miss.CompareAndSwap(true, false) {
		return answer{}, false
	}
	a, ok := h.Cache.Get(k)
	h.afterGet(ok)
	return a, ok
}

func (h hookedMemory) Delete(k key) {
	h.beforeDrop()
	h.Cache.Delete(k)
}

type hookedShared struct {
	sharedCache
	*hooks
}

func (h hookedShared) Get(ctx context.Context, k key) (reading, func(context.Context, reading) bool, bool) {
	r, keep, ok := h.sharedCache.Get(ctx, k)
	h.afterGet(ok)
	return r, keep, ok
}

func (h hookedShared) Drop(ctx context.Context, k key) error {
	h.beforeDrop()
	return h.sharedCache.Drop(ctx, k)
}

func TestEntryExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := key{"Tokyo"}
		m := newMemory(time.Minute)
		m.Set(k, answer{reading: reading{City: "Tokyo"}})
		for range 59 { // a hit does not extend its lifetime
			time.Sleep(time.Second)
			if _, ok := m.Get(k); !ok {
				t.Fatal("gone before its time")
			}
		}
		time.Sleep(time.Second + 1)
		if _, ok := m.Get(k); ok {
			t.Error("kept for longer than its time")
		}
	})
}

func TestClientLeaves(t *testing.T) {
	var g gate
	f := start(t, hold(&g))
	var leave []context.CancelFunc
	left := make(chan error, 2)
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		leave = append(leave, cancel)
		go func() { left <- send(ctx, http.DefaultClient, "GET", f.url+"/city/Tokyo", "").err }()
	}
	q := g.next(t)
	f.waitJoined(t, 1)
	staying := f.goGet("/city/Tokyo")
	f.waitJoined(t, 2)

	leave[0]()
	leave[1]()
	for range 2 {
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("a client who left got %v", err)
		}
	}
	eventually(t, "two have left, with the query still up", func() bool { return f.flights.Stats().Left == 2 })
	if err := q.ctx.Err(); err != nil {
		t.Errorf("the query's context: %v, with a client waiting", err)
	}
	q.pass()
	if a := (<-staying).answer(t); a.Source != "load" || a.Shared {
		t.Errorf("who stayed got %+v, want it loaded and not shared", a)
	}
	f.wantQueries(t, 1)
}

// TestAllClientsLeave checks that the load continues after all clients have left. A
// later client joins it, or finds its result.
func TestAllClientsLeave(t *testing.T) {
	var g gate
	f := start(t, hold(&g))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	for range 3 {
		go send(ctx, http.DefaultClient, "GET", f.url+"/city/Tokyo", "")
	}
	q := g.next(t)
	f.waitJoined(t, 2)
	leave()
	eventually(t, "all have left", func() bool { return f.flights.Stats().Left == 3 })
	if st := f.flights.Stats(); st.InFlight != 1 || st.Running != 1 {
		t.Errorf("with nobody waiting: %+v, want the load to go on", st)
	}
	if err := q.ctx.Err(); err != nil {
		t.Errorf("the query's context: %v", err)
	}
	late := f.goGet("/city/Tokyo")
	f.waitJoined(t, 3)
	q.pass()
	if a := (<-late).answer(t); a.Source != "load" || a.Shared {
		t.Errorf("who came later got %+v, want it loaded and not shared", a)
	}
	if a := f.get("/city/Tokyo").answer(t); a.Source != "cache" {
		t.Errorf("afterwards: %+v", a)
	}
	f.wantQueries(t, 1)
	if s := f.log.String(); s != "" {
		t.Errorf("logged: %s", s)
	}
}

func TestWait(t *testing.T) {
	var g gate
	f := start(t, hold(&g))
	f.get("/city/Tokyo?wait=100ms").wantError(t, http.StatusGatewayTimeout, "no reading within 100ms")
	q := g.next(t)
	if err := q.ctx.Err(); err != nil {
		t.Errorf("nobody waits, and the query's context: %v", err)
	}
	patient, joining := f.goGet("/city/Tokyo?wait=1m"), f.goGet("/city/Tokyo")
	f.waitJoined(t, 2)
	q.pass()
	for _, ch := range []<-chan response{patient, joining} {
		if a := (<-ch).answer(t); a.Source != "load" || !a.Shared {
			t.Errorf("who joined got %+v", a)
		}
	}
	if a := f.get("/city/Tokyo?wait=100ms").answer(t); a.Source != "cache" {
		t.Errorf("afterwards: %+v", a)
	}
	f.wantQueries(t, 1)

	// This load fills the cache although no client waits for it.
	f.get("/city/Paris?wait=100ms").want(t, http.StatusGatewayTimeout)
	g.next(t).pass()
	eventually(t, "nothing running", func() bool { return f.flights.Stats().Running == 0 })
	if a := f.get("/city/Paris").answer(t); a.Source != "cache" {
		t.Errorf("afterwards: %+v", a)
	}

	// A client that hangs up does not end the load.
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan response)
	go func() { gone <- send(ctx, http.DefaultClient, "GET", f.url+"/city/London?wait=1m", "") }()
	q = g.next(t)
	leave()
	<-gone
	shut, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.srv.Shutdown(shut); err != nil {
		t.Errorf("the handler waits for a client who has gone: %v", err)
	}
	if err := q.ctx.Err(); err != nil {
		t.Errorf("the query's context: %v", err)
	}
	q.pass()
}

// TestWaitIsOverAtOnce checks that Fill starts no load for a context that is done.
func TestWaitIsOverAtOnce(t *testing.T) {
	f := start(t)
	f.get("/city/Tokyo?wait=1ns").wantError(t, http.StatusGatewayTimeout, "no reading within 1ns; ask again")
	if n := f.flights.Stats().Executions; n != 0 {
		t.Errorf("%d loads, want 0", n)
	}
	f.get("/city/Tokyo").want(t, http.StatusOK)
	if a := f.get("/city/Tokyo?wait=1ns").answer(t); a.Source != "cache" {
		t.Errorf("a hit with no time left: %+v, want it from the cache", a)
	}
}

func TestCities(t *testing.T) {
	var g gate
	f := start(t, hold(&g))
	names := []string{"Tokyo", "Paris", "London", "Tokyo", "New York"}
	ch := f.goGet("/cities?" + url.Values{"name": names}.Encode())
	var up []query
	for range 4 {
		up = append(up, g.next(t))
	}
	f.waitJoined(t, 1) // the second Tokyo
	for _, q := range slices.Backward(up) {
		q.pass()
	}
	var got []answer
	(<-ch).decode(t, &got)
	if len(got) != len(names) {
		t.Fatalf("%d answers, want %d", len(got), len(names))
	}
	for i, a := range got {
		if a.City != names[i] || a.Shared != (a.City == "Tokyo") {
			t.Errorf("answer %d is %+v, want %s", i, a, names[i])
		}
	}
	f.wantQueries(t, 4)
}

// TestTenLoads asks for 100 cities in one request and for ten in others, and counts
// the queries that run while all the flights are in progress.
func TestTenLoads(t *testing.T) {
	var g gate
	f := start(t, hold(&g))
	all := strings.Split(strings.TrimSpace(cities), "\n")
	many := f.goGet("/cities?" + url.Values{"name": all[:maxNames]}.Encode())
	var others []<-chan response
	for _, name := range all[maxNames : maxNames+10] {
		others = append(others, f.goGet("/city/"+url.PathEscape(name)))
	}
	eventually(t, "110 flights", func() bool { return f.flights.Stats().Running == 110 })
	var up []query
	for range maxLoads {
		up = append(up, g.next(t))
	}
	f.wantQueries(t, maxLoads) // not one more, while 100 flights wait for their turn
	for n := range int64(100) {
		up[0].pass()
		up = append(up[1:], g.next(t))
		f.wantQueries(t, maxLoads+n+1)
	}
	for _, q := range up {
		q.pass()
	}
	var got []answer
	(<-many).decode(t, &got)
	for _, ch := range others {
		(<-ch).want(t, http.StatusOK)
	}
}

// TestFirstErrorIsTheAnswer checks that the first error is answered without waiting
// for the other loads, which continue and fill the cache.
func TestFirstErrorIsTheAnswer(t *testing.T) {
	var g gate
	f := start(t, hold(&g))
	ch := f.goGet("/cities?name=Tokyo&name=Paris&name=Atlantis&name=London")
	var rest []query
	var bad query
	for range 4 {
		if q := g.next(t); q.city == "Atlantis" {
			bad = q
		} else {
			rest = append(rest, q)
		}
	}
	bad.pass()
	(<-ch).wantError(t, http.StatusNotFound, `no such city: "Atlantis"`)
	for _, q := range rest {
		if err := q.ctx.Err(); err != nil {
			t.Errorf("the context of the query for %s: %v", q.city, err)
		}
		q.pass()
	}
	eventually(t, "nothing running", func() bool { return f.flights.Stats().Running == 0 })
	for _, q := range rest {
		if a := f.get("/city/" + q.city).answer(t); a.Source != "cache" {
			t.Errorf("afterwards: %+v", a)
		}
	}
	f.wantQueries(t, 4)
}

// TestNoTurn has more loads than queries are allowed, and queries that do not end.
// Each load ends in limited time, even if no client waits for it.
func TestNoTurn(t *testing.T) {
	var g gate
	f := start(t, hold(&g), func(f *service) { f.limit = 100 * time.Millisecond })
	all := strings.Split(strings.TrimSpace(cities), "\n")
	var up []query
	for _, name := range all[:maxLoads] {
		go f.get("/city/" + url.PathEscape(name))
		up = append(up, g.next(t))
	}
	ctx, leave := context.WithCancel(t.Context())
	go send(ctx, http.DefaultClient, "GET", f.url+"/city/Tokyo", "")
	eventually(t, "one more load", func() bool { return f.flights.Stats().Running == maxLoads+1 })
	leave()
	f.get("/city/Paris").wantError(t, http.StatusServiceUnavailable, "ask again")
	eventually(t, "the load that nobody waits for has ended", func() bool { return f.flights.Stats().Running == maxLoads })
	if n := f.log.count("query did not get its turn"); n != 2 {
		t.Errorf("logged %d times, want 2:\n%s", n, f.log)
	}
	f.wantQueries(t, maxLoads)
	for _, q := range up {
		q.pass()
	}
}

func TestErrors(t *testing.T) {
	f := start(t, func(f *service) { f.srv.ReadTimeout = 300 * time.Millisecond })
	pad := strings.Repeat(" ", maxBody)
	name101 := "/cities?name=Tokyo" + strings.Repeat("&name=Tokyo", maxNames)
	for _, tt := range []struct {
		method, path, body string
		status             int
		text               string
	}{
		{"GET", "/city/Atlantis", "", 404, `no such city: "Atlantis"`},
		{"GET", "/city/Atlantis?wait=1m", "", 404, `no such city: "Atlantis"`},
		{"GET", "/city/tokyo", "", 404, "no such city"},
		{"GET", "/cities?name=Tokyo&name=Atlantis", "", 404, `no such city: "Atlantis"`},
		{"PUT", "/city/Atlantis", `{"celsius": 1}`, 404, `no such city: "Atlantis"`},
		{"GET", "/city/Tokyo?wait=soon", "", 400, `wait "soon"`},
		{"GET", "/city/Tokyo?wait=", "", 400, `wait ""`},
		{"GET", "/city/Tokyo?wait=-1s", "", 400, `wait "-1s"`},
		{"GET", "/city/Tokyo?wait=0", "", 400, `wait "0"`},
		{"GET", "/city/Tokyo?wait=1s;", "", 400, "malformed query"},
		{"GET", name101, "", 400, "want 1 to 100"},
		{"GET", "/cities", "", 400, "want 1 to 100"},
		{"GET", "/cities?name=%zz", "", 400, "want 1 to 100"},
		{"PUT", "/city/Tokyo", ``, 400, "a number"},
		{"PUT", "/city/Tokyo", `{"celsius": `, 400, "a number"},
		{"PUT", "/city/Tokyo", `{"celsius": "warm"}`, 400, "a number"},
		{"PUT", "/city/Tokyo", `{"celsius": 1} {}`, 400, "a number"},
		{"PUT", "/city/Tokyo", `{"fahrenheit": 1}`, 400, "a number"},
		{"PUT", "/city/Tokyo", `{"celsius": 1}` + pad, 413, "more than 65536 bytes"},
		{"PUT", "/city/Tokyo", `{"celsius": 1}` + pad[:maxBody-14], 200, ""},
		{"POST", "/city/Tokyo", "", 405, ""},
		{"DELETE", "/city/Tokyo", "", 405, ""},
		{"PUT", "/cities", "", 405, ""},
		{"POST", "/debug/vars", "", 405, ""},
		{"GET", "/", "", 404, ""},
		{"HEAD", "/city/Tokyo", "", 200, ""},
	} {
		t.Run(fmt.Sprintf("%s %.30s %d", tt.method, tt.path, tt.status), func(t *testing.T) {
			resp := send(t.Context(), http.DefaultClient, tt.method, f.url+tt.path, tt.body)
			if tt.text == "" {
				resp.want(t, tt.status)
			} else {
				resp.wantError(t, tt.status, tt.text)
			}
		})
	}

	t.Run("the body does not come", func(t *testing.T) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(conn, "PUT /city/Tokyo HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n{")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%+v, %v; want 400", resp, err)
		}
	})
	if s := f.log.String(); s != "" {
		t.Errorf("logged: %s", s)
	}
}

func TestDatabaseFails(t *testing.T) {
	const secret = "disk I/O error: /secret/weather.db"
	fails := errors.New(secret)
	f := start(t, func(f *service) {
		read, write := f.server.read, f.server.write
		f.server.read = func(ctx context.Context, city string) (reading, error) {
			if city == "Paris" {
				return reading{}, fails
			}
			return read(ctx, city)
		}
		f.server.write = func(ctx context.Context, r reading) error {
			if err := write(ctx, r); err != nil || r.City != "Paris" {
				return err
			}
			return fails
		}
	})
	for i, path := range []string{"/city/Paris", "/city/Paris?wait=1m", "/cities?name=Paris&name=Tokyo"} {
		resp := f.get(path)
		resp.wantError(t, http.StatusBadGateway, "the database failed")
		if strings.Contains(resp.body, "secret") {
			t.Errorf("GET %s leaks: %s", path, resp.body)
		}
		if got := f.log.count("query failed"); got != i+1 {
			t.Errorf("GET %s: %d failures logged in all, want %d", path, got, i+1)
		}
	}
	if got := f.log.count(secret); got != 3 {
		t.Errorf("the cause was logged %d times, want 3:\n%s", got, f.log)
	}
	f.put("Paris", 1).wantError(t, http.StatusBadGateway, "the database failed")
	if f.log.count("write failed") != 1 || f.log.count(secret) != 4 {
		t.Errorf("the failed write was not logged:\n%s", f.log)
	}

	f.get("/city/Tokyo").want(t, http.StatusOK)
	f.st.close()
	f.get("/city/Oslo").wantError(t, http.StatusBadGateway, "the database failed")
}

// TestDatabaseHangs checks that clients wait no longer than the time limit of a query.
func TestDatabaseHangs(t *testing.T) {
	f := start(t, func(f *service) {
		f.limit = 20 * time.Millisecond
		f.server.read = func(ctx context.Context, city string) (reading, error) {
			<-ctx.Done()
			return reading{}, ctx.Err()
		}
	})
	for _, path := range []string{"/city/Paris", "/city/Paris?wait=1m", "/cities?name=Paris&name=Paris"} {
		f.get(path).wantError(t, http.StatusBadGateway, "the database failed")
	}
	if n := f.log.count(context.DeadlineExceeded.Error()); n < 3 {
		t.Errorf("logged:\n%s", f.log)
	}
}

// TestPanic has a load panic while every kind of client waits for it. It does so
// more often than loads are allowed at once, so that a lost turn would show.
func TestPanic(t *testing.T) {
	panics := func() error { panic("the driver has a bug") }
	ask := func(f *service, ctx context.Context, n int, path string) chan response {
		ch := make(chan response, n)
		for range n {
			go func() { ch <- send(ctx, http.DefaultClient, "GET", f.url+path, "") }()
		}
		return ch
	}
	for _, tt := range []struct {
		name          string
		plain, wait   int
		hangUp, quick bool
	}{
		{name: "clients wait", plain: 3},
		{name: "both kinds have hung up", plain: 2, wait: 1, hangUp: true},
		{name: "all have hung up", plain: 3, hangUp: true},
		{name: "only wait callers", wait: 3},
		{name: "only wait callers, and their time is over", wait: 3, quick: true},
		{name: "only wait callers, and they have hung up", wait: 3, hangUp: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var g gate
			f := start(t, hold(&g))
			for i := range maxLoads + 1 {
				ctx, leave := context.WithTimeout(t.Context(), patience)
				defer leave()
				plain := ask(f, ctx, tt.plain, "/city/Tokyo")
				wait := "/city/Tokyo?wait=1m"
				if tt.quick {
					wait = "/city/Tokyo?wait=100ms"
				}
				waiting := ask(f, ctx, tt.wait, wait)
				all := uint64(tt.plain + tt.wait)
				q := g.next(t)
				eventually(t, "all have joined", func() bool {
					st := f.flights.Stats()
					return st.Executions+st.Joined == uint64(i+1)*all
				})

				want := http.StatusInternalServerError
				if tt.quick {
					want = http.StatusGatewayTimeout
				}
				var got []response
				if tt.hangUp || tt.quick { // the load panics after all clients have left
					if tt.hangUp {
						leave()
					}
					for range tt.plain {
						got = append(got, <-plain)
					}
					for range tt.wait {
						got = append(got, <-waiting)
					}
					eventually(t, "all have left", func() bool {
						return f.flights.Stats().Left == uint64(i+1)*all
					})
					q.verdict <- panics
				} else {
					q.verdict <- panics
					for range tt.plain {
						got = append(got, <-plain)
					}
					for range tt.wait {
						got = append(got, <-waiting)
					}
				}
				for _, resp := range got {
					if tt.hangUp {
						if !errors.Is(resp.err, context.Canceled) {
							t.Errorf("who hung up got %+v", resp)
						}
						continue
					}
					resp.want(t, want)
					if strings.Contains(resp.body, "bug") || strings.Contains(resp.body, "goroutine") {
						t.Errorf("leaks: %s", resp.body)
					}
				}
				eventually(t, "nothing running", func() bool { return f.flights.Stats().Running == 0 })
			}
			if n := f.log.count("the driver has a bug"); n != maxLoads+1 {
				t.Errorf("%d panics logged, want %d", n, maxLoads+1)
			}
			if f.log.count("server_test.go") < maxLoads+1 {
				t.Errorf("the log does not show where:\n%s", f.log)
			}

			// The server still works.
			ch := f.goGet("/city/Tokyo")
			g.next(t).pass()
			if a := (<-ch).answer(t); a.Source != "load" {
				t.Errorf("afterwards: %+v", a)
			}
		})
	}
}

// TestPanicWithDeadlineExceeded checks that such a panic is not taken for a client whose wait is over.
func TestPanicWithDeadlineExceeded(t *testing.T) {
	f := start(t, func(f *service) {
		f.server.read = func(context.Context, string) (reading, error) { panic(context.DeadlineExceeded) }
	})
	for _, path := range []string{"/city/Tokyo", "/city/Tokyo?wait=1m", "/cities?name=Tokyo"} {
		f.get(path).wantError(t, http.StatusInternalServerError, "internal error")
	}
}

func TestVars(t *testing.T) {
	var g gate
	f := start(t, hold(&g))
	type vars struct {
		Cmdline      []string
		Memstats     map[string]any
		Singleflight map[string]float64
		Queries      map[string]float64
	}
	look := func() (v vars) { f.get("/debug/vars").decode(t, &v); return v }

	for _, name := range []string{"executions", "joined", "left", "in_flight", "running", "saved"} {
		if got, ok := look().Singleflight[name]; !ok || got != 0 {
			t.Errorf("at first, %s = %v, %v; want 0", name, got, ok)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	for range 4 {
		go send(ctx, http.DefaultClient, "GET", f.url+"/city/Tokyo", "")
	}
	f.waitJoined(t, 3)
	v := look()
	for name, want := range map[string]float64{"executions": 1, "joined": 3, "left": 0, "in_flight": 1, "running": 1, "saved": 0.75} {
		if got := v.Singleflight[name]; got != want {
			t.Errorf("with 4 waiting, %s = %v, want %v", name, got, want)
		}
	}
	leave()
	eventually(t, "all have left", func() bool { return look().Singleflight["left"] == 4 })
	v = look()
	if v.Singleflight["in_flight"] != 1 || v.Singleflight["running"] != 1 {
		t.Errorf("with nobody waiting: %v", v.Singleflight)
	}
	g.next(t).pass()
	eventually(t, "nothing running", func() bool { return look().Singleflight["running"] == 0 })

	// The query continues after all clients have left, and its reading is kept.
	f.get("/city/Tokyo").want(t, http.StatusOK)
	v = look()
	if v.Queries["asked"] != 5 || v.Queries["executed"] != 1 || v.Queries["saved"] != 0.8 {
		t.Errorf("queries: %v", v.Queries)
	}
	if len(v.Cmdline) == 0 || v.Memstats["Alloc"] == nil {
		t.Error("expvar's own variables are missing")
	}
}
