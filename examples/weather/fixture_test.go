// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen, on a busy machine.
const patience = 30 * time.Second

// A service is a service under test, on a port of its own.
type service struct {
	*server
	url string
	log *journal
	srv *http.Server
}

// start serves until the test ends. setup may replace parts of the server.
func start(t *testing.T, setup ...func(*service)) *service {
	t.Helper()
	return startOn(t, filepath.Join(t.TempDir(), "weather.db"), setup...)
}

func startOn(t *testing.T, db string, setup ...func(*service)) *service {
	t.Helper()
	st, err := openStore(t.Context(), db, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := &service{log: new(journal)}
	log := slog.New(slog.NewJSONHandler(f.log, nil))
	f.server = newServer(st, newMemory(time.Hour), nil, log)
	f.limit = 2 * patience // a busy machine must not reach it
	f.srv = httpServer(f.server, log)
	for _, set := range setup {
		set(f)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.url = "http://" + ln.Addr().String()
	var wg sync.WaitGroup
	wg.Go(func() { f.srv.Serve(ln) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		http.DefaultClient.CloseIdleConnections()
		if err := f.srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
			f.srv.Close()
		}
		wg.Wait()
		if err := f.stop(ctx); err != nil {
			t.Errorf("%d loads are still running: %v", f.flights.Stats().Running, err)
		}
		if err := st.close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// A journal holds what the service has logged.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) count(text string) int { return strings.Count(j.String(), text) }

// A gate is a database whose answers wait after the row has been read.
type gate struct {
	held chan query // receives each query when it has read its row
}

type query struct {
	city string
	ctx  context.Context
	// Send a function that returns the error of the query, or nil to continue.
	verdict chan func() error
}

func (q query) pass() { q.verdict <- nil }

// hold makes all queries of f wait for their verdict, even if their context is done.
func hold(g *gate) func(*service) {
	g.held = make(chan query)
	return func(f *service) {
		read := f.read
		f.read = func(ctx context.Context, city string) (reading, error) {
			r, err := read(ctx, city)
			q := query{city, ctx, make(chan func() error)}
			g.held <- q
			if do := <-q.verdict; do != nil {
				err = do()
			}
			return r, err
		}
	}
}

// next returns the next query that has read its row.
func (g *gate) next(t *testing.T) query {
	t.Helper()
	select {
	case q := <-g.held:
		return q
	case <-time.After(patience):
		t.Fatal("no query came")
		panic("unreachable")
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	within(t, patience, what, cond)
}

func within(t *testing.T, d time.Duration, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (f *service) waitJoined(t *testing.T, n uint64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d joined", n), func() bool { return f.flights.Stats().Joined >= n })
}

func (f *service) wantQueries(t *testing.T, want int64) {
	t.Helper()
	if got := f.st.queries.Value(); got != want {
		t.Errorf("%d queries, want %d", got, want)
	}
}

// A response is a whole response of the service.
type response struct {
	status int
	header http.Header
	body   string
	err    error
}

func send(ctx context.Context, client *http.Client, method, url, body string) response {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return response{err: err}
	}
	resp, err := client.Do(req)
	if err != nil {
		return response{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(b), err}
}

func (f *service) get(path string) response {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return send(ctx, http.DefaultClient, "GET", f.url+path, "")
}

// goGet is get on another goroutine.
func (f *service) goGet(path string) <-chan response {
	ch := make(chan response, 1)
	go func() { ch <- f.get(path) }()
	return ch
}

func (f *service) put(city string, celsius float64) response {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return send(ctx, http.DefaultClient, "PUT", f.url+"/city/"+url.PathEscape(city), fmt.Sprintf(`{"celsius": %v}`, celsius))
}

func (r response) answer(t *testing.T) (a answer) {
	t.Helper()
	r.decode(t, &a)
	return a
}

func (r response) decode(t *testing.T, v any) {
	t.Helper()
	r.want(t, http.StatusOK)
	if err := json.Unmarshal([]byte(r.body), v); err != nil {
		t.Fatalf("body %q: %v", r.body, err)
	}
}

func (r response) want(t *testing.T, status int) {
	t.Helper()
	if r.err != nil || r.status != status {
		t.Fatalf("status %d, error %v, body %q; want status %d", r.status, r.err, r.body, status)
	}
}

// wantError checks the status, and that the error contains the text.
func (r response) wantError(t *testing.T, status int, text string) {
	t.Helper()
	r.want(t, status)
	var got struct{ Error string }
	if err := json.Unmarshal([]byte(r.body), &got); err != nil || !strings.Contains(got.Error, text) {
		t.Errorf("status %d, body %q; want an error with %q", r.status, r.body, text)
	}
}
