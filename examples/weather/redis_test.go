// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A redisServer is a real Redis on a port of its own, without persistence.
type redisServer struct {
	addr, dir string
	cmd       *exec.Cmd
	ended     chan struct{} // closed when it has ended
}

func startRedis(t *testing.T) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Skip("redis-server is not installed (Debian: apt-get install redis-server)")
	}
	r := &redisServer{dir: t.TempDir()}
	t.Cleanup(r.kill)
	for range 3 { // another process may take the address before Redis does
		r.addr = freeAddr(t)
		if r.tryStart(t) {
			return r
		}
	}
	t.Fatal("redis-server does not start")
	return nil
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// start starts it again, with nothing in it.
func (r *redisServer) start(t *testing.T) {
	t.Helper()
	if !r.tryStart(t) {
		t.Fatal("redis-server does not start again")
	}
}

func (r *redisServer) tryStart(t *testing.T) bool {
	t.Helper()
	_, port, _ := net.SplitHostPort(r.addr)
	r.cmd = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", r.dir,
		"--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", "redis.log")
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { cmd.Wait(); close(ended) }(r.cmd, r.ended)
	c := r.client()
	defer c.Close()
	up := false
	eventually(t, "redis-server answers", func() bool {
		select {
		case <-r.ended:
			return true
		default:
		}
		info, err := c.Info(t.Context(), "server").Result()
		up = err == nil && strings.Contains(info, fmt.Sprintf("process_id:%d\r", r.cmd.Process.Pid))
		return up
	})
	return up
}

func (r *redisServer) kill() {
	if r.cmd != nil {
		r.cmd.Process.Kill()
		<-r.ended
	}
}

func (r *redisServer) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// client returns a client for the test itself, which waits as long as the test does.
func (r *redisServer) client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: r.addr, DisableIdentity: true})
}

// cache gives a service this Redis.
func (r *redisServer) cache(t *testing.T, ttl time.Duration) func(*service) {
	return func(f *service) {
		c := newRedisCache(r.addr, ttl, slog.New(slog.NewJSONHandler(f.log, nil)))
		t.Cleanup(func() { c.client.Close() })
		c.limit = patience // a busy machine must not reach it
		f.memory, f.redis = nothing{}, c
	}
}

// commands returns how many commands the server has processed, as it reports itself.
func (r *redisServer) commands(t *testing.T) int {
	t.Helper()
	c := r.client()
	defer c.Close()
	info, err := c.Info(t.Context(), "stats").Result()
	m := regexp.MustCompile(`total_commands_processed:(\d+)`).FindStringSubmatch(info)
	if err != nil || m == nil {
		t.Fatalf("INFO: %v, %q", err, info)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

const (
	outOfService = "redis is out of service"
	isBack       = "redis is back"
)

func (f *service) wantLogged(t *testing.T, out, back int) {
	t.Helper()
	if o, b := f.log.count(outOfService), f.log.count(isBack); o != out || b != back {
		t.Errorf("logged %d times that Redis is out of service and %d times that it is back; want %d and %d:\n%s",
			o, b, out, back, f.log)
	}
}

// TestRedisColdCity checks that Redis reduces the load on the database, and the Group that on both.
func TestRedisColdCity(t *testing.T) {
	var g gate
	r := startRedis(t)
	f := start(t, r.cache(t, time.Hour), hold(&g), http2)
	paris := f.goGet("/city/Paris") // connects, and loads the scripts
	g.next(t).pass()
	(<-paris).want(t, http.StatusOK)

	before := r.commands(t)
	own := r.commands(t) - before // the cost of asking
	before += own
	st := f.flights.Stats()
	stampedeAtOnce(t, f, &g)
	commands := r.commands(t) - before - own
	f.wantQueries(t, 2) // Paris, and one for the ten thousand
	if got := f.flights.Stats(); got.Executions != st.Executions+1 || got.Joined != st.Joined+9_999 {
		t.Errorf("%d flights, %d joined; want 1 and 9999", got.Executions-st.Executions, got.Joined-st.Joined)
	}
	t.Logf("10,000 requests: %d Redis commands, those within scripts included", commands)
	if commands < 2 || commands > 8 {
		t.Errorf("10,000 requests made %d Redis commands, want a handful", commands)
	}
}

// TestRedisIsShared checks that a process finds what another has loaded.
func TestRedisIsShared(t *testing.T) {
	r := startRedis(t)
	db := filepath.Join(t.TempDir(), "weather.db")
	a, b := startOn(t, db, r.cache(t, time.Hour)), startOn(t, db, r.cache(t, time.Hour))
	loaded := a.get("/city/Tokyo").answer(t)
	found := b.get("/city/Tokyo").answer(t)
	b.wantQueries(t, 0)
	if found.Source != "cache" || found.reading != loaded.reading {
		t.Errorf("loaded %+v, found %+v", loaded, found)
	}
	a.put("Tokyo", 99).want(t, http.StatusOK)
	if got := b.get("/city/Tokyo").answer(t); got.Celsius != 99 {
		t.Errorf("after PUT 99 in another process: %+v", got)
	}
}

// TestRedisPutElsewhere has a PUT in one process overtake a load in another. Redis
// refuses the old row, and the load is repeated, so that clients that joined it
// after the answer to the PUT also get the new reading.
func TestRedisPutElsewhere(t *testing.T) {
	var g gate
	r := startRedis(t)
	db := filepath.Join(t.TempDir(), "weather.db")
	a, b := startOn(t, db, r.cache(t, time.Hour)), startOn(t, db, r.cache(t, time.Hour), hold(&g))
	early := b.goGet("/city/Tokyo")
	q := g.next(t)
	a.put("Tokyo", 99).want(t, http.StatusOK)
	late := b.goGet("/city/Tokyo")
	b.waitJoined(t, 1) // b's Group does not know of the PUT
	q.pass()
	g.next(t).pass()
	for _, ch := range []<-chan response{early, late} {
		if got := (<-ch).answer(t); got.Celsius != 99 {
			t.Errorf("after PUT 99 in another process: %+v", got)
		}
	}
	for _, f := range []*service{a, b} {
		if got := f.get("/city/Tokyo").answer(t); got.Celsius != 99 || got.Source != "cache" {
			t.Errorf("afterwards: %+v", got)
		}
	}
}

// TestRedisDies kills it in the middle of a load, and starts it again.
func TestRedisDies(t *testing.T) {
	var g gate
	r := startRedis(t)
	f := start(t, r.cache(t, time.Hour), hold(&g))
	ch := f.goGet("/city/Tokyo")
	q := g.next(t)
	joined := f.goGet("/city/Tokyo")
	f.waitJoined(t, 1)
	r.kill()
	q.pass()
	(<-ch).want(t, http.StatusOK)
	(<-joined).want(t, http.StatusOK)
	f.wantLogged(t, 1, 0)

	// The Group still suppresses duplicates.
	for range 3 {
		var all []<-chan response
		joinedBefore := f.flights.Stats().Joined
		for range 10 {
			all = append(all, f.goGet("/city/Tokyo"))
		}
		q := g.next(t)
		f.waitJoined(t, joinedBefore+9)
		q.pass()
		for _, ch := range all {
			if a := (<-ch).answer(t); a.Source != "load" || !a.Shared {
				t.Errorf("without Redis: %+v", a)
			}
		}
	}
	f.wantQueries(t, 4)
	f.put("Tokyo", 50).wantError(t, http.StatusServiceUnavailable, "written, but")
	f.wantLogged(t, 1, 0)

	r.start(t)
	go func() {
		for q := range g.held {
			q.pass()
		}
	}()
	defer close(g.held)
	eventually(t, "Redis is used again", func() bool { return f.get("/city/Tokyo").answer(t).Source == "cache" })
	if a := f.get("/city/Tokyo").answer(t); a.Celsius != 50 {
		t.Errorf("it was written, and is %+v", a)
	}
	f.put("Tokyo", 99).want(t, http.StatusOK)
	if a := f.get("/city/Tokyo").answer(t); a.Celsius != 99 {
		t.Errorf("after PUT 99: %+v", a)
	}
	f.wantLogged(t, 1, 1)
}

// TestRedisRestarts loses the generation that a load has noted. Clients that come
// after the PUT that overtook the load must still get the new reading.
func TestRedisRestarts(t *testing.T) {
	var g gate
	r := startRedis(t)
	f := start(t, r.cache(t, time.Hour), hold(&g))
	early := f.goGet("/city/Tokyo")
	old := g.next(t)
	eventually(t, "the PUT is answered", func() bool { return f.put("Tokyo", 99).status == http.StatusOK })
	r.kill()
	r.start(t)
	old.pass()
	g.next(t).pass() // the repetition of the load that was refused
	(<-early).want(t, http.StatusOK)
	if a := f.get("/city/Tokyo").answer(t); a.Celsius != 99 {
		t.Errorf("after PUT 99: %+v", a)
	}
}

// TestRedisHangs stops it without closing its connections.
func TestRedisHangs(t *testing.T) {
	r := startRedis(t)
	f := start(t, r.cache(t, time.Hour))
	f.get("/city/Tokyo").want(t, http.StatusOK)
	f.redis.(*redisCache).limit = redisLimit
	r.signal(t, syscall.SIGSTOP)
	stopped := time.Now()
	for _, city := range []string{"Tokyo", "Paris", "London"} {
		if a := f.get("/city/" + city).answer(t); a.Source != "load" {
			t.Errorf("with Redis hanging: %+v", a)
		}
	}
	f.put("Tokyo", 50).want(t, http.StatusServiceUnavailable)
	f.wantLogged(t, 1, 0)
	t.Logf("three loads and a PUT took %v without Redis", time.Since(stopped))

	r.signal(t, syscall.SIGCONT)
	eventually(t, "Redis is used again", func() bool { return f.get("/city/Oslo").answer(t).Source == "cache" })
	eventually(t, "PUT works again", func() bool { return f.put("Tokyo", 99).status == http.StatusOK })
	if a := f.get("/city/Tokyo").answer(t); a.Celsius != 99 {
		t.Errorf("after PUT 99: %+v", a)
	}
	if f.log.count(isBack) == 0 {
		t.Errorf("not logged that Redis is back:\n%s", f.log)
	}
}

func TestRedisWasNeverThere(t *testing.T) {
	r := &redisServer{addr: freeAddr(t)}
	f := start(t, r.cache(t, time.Hour))
	for range 3 {
		if a := f.get("/city/Tokyo").answer(t); a.Source != "load" {
			t.Errorf("without Redis: %+v", a)
		}
	}
	f.wantLogged(t, 1, 0)
}

// TestRedisGenerationLasts: a load that notes a generation has all of genTTL for
// the load, however old it is.
func TestRedisGenerationLasts(t *testing.T) {
	ctx, k := t.Context(), key{"Tokyo"}
	r := startRedis(t)
	c := newRedisCache(r.addr, time.Hour, slog.New(slog.DiscardHandler))
	defer c.client.Close()
	c.Get(ctx, k)
	if err := c.client.PExpire(ctx, k.generation(), time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	_, keep, _ := c.Get(ctx, k)
	if left := c.client.PTTL(ctx, k.generation()).Val(); left < genTTL/2 {
		t.Errorf("the generation ends in %v", left)
	}
	if !keep(ctx, reading{City: "Tokyo"}) {
		t.Error("the reading was refused")
	}
	if left := c.client.PTTL(ctx, k.entry()).Val(); left <= 0 || left > time.Hour {
		t.Errorf("the entry ends in %v, want within an hour", left)
	}
	if r, _, ok := c.Get(ctx, k); !ok || r.City != "Tokyo" {
		t.Errorf("kept %+v, %v", r, ok)
	}

	// An entry that is not a reading is not served, and not kept for long.
	c.client.Set(ctx, k.entry(), "{", time.Hour)
	if _, keep, ok := c.Get(ctx, k); ok || !keep(ctx, reading{}) {
		t.Error("nonsense in Redis was served")
	}
}

// TestRedisOutageIsLoggedOnce checks that a late answer from before the outage, or
// a late failure from the last one, changes nothing.
func TestRedisOutageIsLoggedOnce(t *testing.T) {
	j := new(journal)
	f := &service{log: j}
	c := &redisCache{limit: patience, log: slog.New(slog.NewJSONHandler(j, nil))}
	ctx := t.Context()
	talk := func(write bool, err error) func() {
		begun, end, done := make(chan bool), make(chan bool), make(chan bool)
		go func() {
			c.talk(ctx, write, func(ctx context.Context) error {
				if _, bounded := ctx.Deadline(); !bounded {
					t.Error("there is no limit")
				}
				begun <- true
				<-end
				return err
			})
			close(done)
		}()
		<-begun
		return func() { close(end); <-done }
	}
	fails := fmt.Errorf("no route to host")
	lateSuccess, lateFailure := talk(true, nil), talk(true, fails)
	talk(false, fails)()
	f.wantLogged(t, 1, 0)
	talk(false, fails)()
	lateSuccess()
	talk(false, nil)() // a read, which does not show that Redis can write
	f.wantLogged(t, 1, 0)
	talk(true, nil)()
	f.wantLogged(t, 1, 1)
	lateFailure()
	f.wantLogged(t, 1, 1)

	gone, leave := context.WithCancel(ctx)
	leave()
	c.talk(gone, true, func(ctx context.Context) error { return ctx.Err() })
	f.wantLogged(t, 1, 1)
}
