// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet"
)

// What New says.

func TestNewRefusesWhatCannotWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	for name, cfg := range map[string]jetstream.KeyValueConfig{
		"deaf":   {},
		"long":   {LimitMarkerTTL: time.Second, History: 5},
		"short":  {LimitMarkerTTL: time.Second, TTL: 5 * time.Second},
		"mirror": {Mirror: &jetstream.StreamSource{Name: bucket}},
	} {
		cfg.Bucket = name
		if _, err := w.js.CreateKeyValue(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		bucket string
		opts   []fleet.Option
		want   string
	}{
		{"missing", nil, `fleet: there is no bucket "missing"; make it with CreateBucket, or: nats kv add missing --marker-ttl=1s`},
		{"deaf", nil, `fleet: bucket "deaf" cannot announce that a lease is over; make one that can with CreateBucket, or: nats kv add deaf --marker-ttl=1s`},
		{"long", nil, `fleet: bucket "long" keeps a history of 5, and what is over would come back`},
		{"short", nil, `fleet: bucket "short" forgets after 5s (its TTL), before a lease of 10s`},
		{"mirror", nil, `fleet: bucket "mirror" is a mirror of "KV_flights"`},
		{"not a name", nil, `fleet: bucket "not a name": `},
		{bucket, []fleet.Option{fleet.Lease(1500 * time.Millisecond)}, "fleet: Lease(1.5s): want whole seconds, at least one"},
		{bucket, []fleet.Option{fleet.Lease(0)}, "fleet: Lease(0s): want"},
		{bucket, []fleet.Option{fleet.Lease(-time.Second)}, "fleet: Lease(-1s): want"},
		{bucket, []fleet.Option{fleet.Linger(time.Millisecond)}, "fleet: Linger(1ms): want"},
		{bucket, []fleet.Option{fleet.EngineTimeout(0)}, "fleet: EngineTimeout(0s): want more than 0"},
		{bucket, []fleet.Option{fleet.Encoding(nil)}, "fleet: Encoding(nil)"},
	} {
		g, err := fleet.New[string](t.Context(), w.js, tt.bucket, tt.opts...)
		if g != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("New(%q): %v, want %s", tt.bucket, err, tt.want)
		}
	}
	if _, err := fleet.New[string](t.Context(), nil, bucket); err == nil {
		t.Error("New of no JetStream: no error")
	}
	if err := fleet.CreateBucket(t.Context(), nil, jetstream.KeyValueConfig{Bucket: bucket}); err == nil {
		t.Error("CreateBucket of no JetStream: no error")
	}
	if err := fleet.CreateBucket(t.Context(), w.js, jetstream.KeyValueConfig{Bucket: "history", History: 2}); err == nil {
		t.Error("CreateBucket with a history: no error")
	}
	_, err := fleet.New[string](t.Context(), w.js, "missing")
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("%v is not ErrBucketNotFound", err)
	}
	stop(w.srv)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := fleet.New[string](ctx, w.js, bucket); err == nil {
		t.Error("New without an engine: no error")
	}
}

func TestCreateBucketLeavesAloneWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.g[0].DoContext(t.Context(), "k", returns("v"))
	create(t, w.js, jetstream.KeyValueConfig{})
	if n := w.info().State.Msgs; n != 1 {
		t.Errorf("%d records, want 1", n)
	}
	err := fleet.CreateBucket(t.Context(), w.js, jetstream.KeyValueConfig{Bucket: bucket, MaxBytes: 1 << 20})
	if !errors.Is(err, jetstream.ErrBucketExists) {
		t.Errorf("with another configuration: %v, want ErrBucketExists", err)
	}
}

func TestDomain(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, &server.Options{JetStreamDomain: "hub"}, jetstream.KeyValueConfig{}, 1)
	for name, js := range map[string]func() (jetstream.JetStream, error){
		"domain": func() (jetstream.JetStream, error) { return jetstream.NewWithDomain(w.js.Conn(), "hub") },
		"prefix": func() (jetstream.JetStream, error) { return jetstream.NewWithAPIPrefix(w.js.Conn(), "$JS.hub.API") },
	} {
		js, err := js()
		if err != nil {
			t.Fatal(err)
		}
		g := newGroup[string](t, js)
		l, here, _ := begin(t, w.g[0], "k")
		there := start(t, g, "k", never)
		w.watched(2)
		l.give("v")
		here.want(t, "without "+name, "v")
		there.want(t, "with "+name, "v")
		if v, err, _ := g.DoContext(t.Context(), "k", returns("own")); v != "own" || err != nil {
			t.Errorf("with %s: %q, %v, want own", name, v, err)
		}
		wantStats(t, "with "+name, g, fleet.Stats{Received: 1, Loads: 1})
	}
}

// What a user of the engine needs to be allowed, as the README lists it.
func TestPermissions(t *testing.T) {
	t.Parallel()
	allow := func(subjects ...string) *server.SubjectPermission { return &server.SubjectPermission{Allow: subjects} }
	w := &world{t: t, opts: &server.Options{Users: []*server.User{
		{Username: "admin", Password: "a"},
		{Username: "fleet", Password: "f", Permissions: &server.Permissions{
			Publish: allow("$KV.flights.>",
				"$JS.API.STREAM.INFO.KV_flights", "$JS.API.STREAM.MSG.GET.KV_flights",
				"$JS.API.CONSUMER.CREATE.KV_flights.>", "$JS.API.CONSUMER.DELETE.KV_flights.>", "$JS.FC.>"),
			Subscribe: allow("_INBOX.>"),
		}},
	}}}
	w.srv = serve(t, w.opts)
	w.js = dial(t, w.srv.ClientURL(), nats.UserInfo("admin", "a"))
	create(t, w.js, jetstream.KeyValueConfig{})
	var denied atomic.Value
	user := func() *fleet.Group[string] {
		return newGroup[string](t, dial(t, w.srv.ClientURL(), nats.UserInfo("fleet", "f"),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied.Store(err) })), fleet.Lease(time.Second))
	}
	a, b := user(), user()
	l, here, _ := begin(t, a, "k")
	there := start(t, b, "k", never)
	w.watched(2)
	if err := b.Forget(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	time.Sleep(1500 * time.Millisecond) // it is renewed
	l.give("v")
	here.want(t, "where fn ran", "v")
	there.want(t, "elsewhere", "v")
	w.watched(0)
	w.empty()
	if err := denied.Load(); err != nil {
		t.Errorf("denied: %v", err)
	}
}

// What a call costs.

// However many callers a process has for a key, it asks the engine once for
// all of them: one write that claims it and one watch.
func TestManyCallersCostTheEngineOne(t *testing.T) {
	t.Parallel()
	const callers = 1000
	w := newWorld(t, 2, fleet.Lease(time.Hour)) // no renewals
	for i, g := range w.g[:2] {
		g.DoContext(t.Context(), fmt.Sprint("warm", i), returns("v"))
	}
	w.watched(0)
	w.empty()
	api := func() uint64 {
		s, err := w.srv.Jsz(nil)
		if err != nil {
			t.Fatal(err)
		}
		return s.API.Total
	}
	msgs := func() (n int64) {
		z, err := w.srv.Connz(nil) // Varz lags
		if err != nil {
			t.Fatal(err)
		}
		own, err := w.js.Conn().GetClientID()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range z.Conns {
			if c.Cid != own {
				n += c.InMsgs
			}
		}
		return n
	}
	writes := w.info().State.LastSeq
	l := newLoader()
	crowd := func(g *fleet.Group[string], fn func(context.Context) (string, error)) (calls []*call) {
		for range callers {
			calls = append(calls, start(t, g, "k", fn))
		}
		until(t, "all callers", func() bool { return g.Stats().Callers.Joined == callers-1 })
		return calls
	}

	apiBefore, msgsBefore := api(), msgs()
	here := crowd(w.g[0], l.fn)
	l.running(t)
	until(t, "the watch", func() bool { return api() == apiBefore+1 })
	there := crowd(w.g[1], never)
	until(t, "the other's watch", func() bool { return api() == apiBefore+2 })
	l.give("v")
	for _, c := range append(here, there...) {
		c.want(t, "a caller", "v")
	}
	until(t, "the end of the watches", func() bool { return api() == apiBefore+4 })
	if n := msgs() - msgsBefore; n != 8 {
		t.Errorf("%d callers: %d messages, want 8: claim, watch, result, end of the watch; claim, watch, look, end of the watch", 2*callers, n)
	}
	if n := w.info().State.LastSeq - writes; n != 2 {
		t.Errorf("%d callers: %d writes, want 2", 2*callers, n)
	}
}

// Without the engine.

// When the connection says that it is down nobody waits for anything.
func TestClosedConnectionFallsBackAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	js, js2 := dial(t, w.srv.ClientURL()), dial(t, w.srv.ClientURL())
	g := newGroup[string](t, js, fleet.EngineTimeout(time.Hour))
	required := newGroup[string](t, js2, fleet.EngineTimeout(time.Hour), fleet.RequireEngine())
	js.Conn().Close()
	js2.Conn().Close()

	l, c, _ := begin(t, g, "k")
	joined := start(t, g, "k", never)
	until(t, "the second caller", func() bool { return g.Stats().Callers.Joined == 1 })
	l.give("v")
	c.want(t, "first", "v")
	joined.want(t, "second", "v")
	wantStats(t, "the Group", g, fleet.Stats{Loads: 1, Fallbacks: 1})

	if a := start(t, required, "k", never).wait(t); !errors.Is(a.err, fleet.ErrUnavailable) {
		t.Errorf("with RequireEngine: %+v, want ErrUnavailable", a)
	}
	wantStats(t, "with RequireEngine", required, fleet.Stats{})
}

// The same when it goes down while the engine is being asked.
func TestConnectionLostWhileAsking(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	g, line := w.behind(fleet.EngineTimeout(time.Hour))
	line.set(true, false) // the claim does not arrive
	l := newLoader()
	c := start(t, g, "k", l.fn)
	time.Sleep(100 * time.Millisecond)
	l.idle(t)
	line.drop()
	l.running(t)
	l.give("v")
	c.want(t, "the caller", "v")
}

// A call that falls back, and had no claim that may have got through, leaves
// nobody behind to look after one. (Not parallel: it counts goroutines.)
func TestFallbackLeavesNobodyBehind(t *testing.T) {
	w := newWorld(t, 1)
	g, line := w.behind()
	l, loading, _ := begin(t, w.g[0], "k")
	waiting := start(t, g, "k", returns("alone"))
	w.watched(2)
	line.drop()
	waiting.want(t, "who waited", "alone")
	start(t, g, "k2", returns("alone")).want(t, "who came then", "alone")
	wantStats(t, "the Group", g, fleet.Stats{Loads: 2, Fallbacks: 2})
	var b strings.Builder
	pprof.Lookup("goroutine").WriteTo(&b, 1)
	if strings.Contains(b.String(), "letGo") {
		t.Errorf("somebody goes on:\n%s", b.String())
	}
	l.give("v")
	loading.want(t, "who loads", "v")
}

// Forget then reaches this process alone, and says so.
func TestForgetWithoutEngine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	js := dial(t, w.srv.ClientURL())
	g := newGroup[string](t, js)
	l, old, _ := begin(t, g, "k")
	js.Conn().Close()
	if err := g.Forget(t.Context(), "k"); !errors.Is(err, fleet.ErrUnavailable) {
		t.Errorf("Forget: %v, want ErrUnavailable", err)
	}
	l2, newer, _ := begin(t, g, "k")
	l.give("old")
	l2.give("newer")
	old.want(t, "the forgotten load's caller", "old")
	newer.want(t, "the next caller", "newer")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Forget(ctx, "k"); err != context.Canceled {
		t.Errorf("Forget with a done context: %v, want context canceled", err)
	}
}

// The server stops while a load is under way. Who waits falls back at once,
// and who loads goes on; and when the server is back, all is as before.
func TestServerStoppedAndRestartedMidFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, fleet.EngineTimeout(time.Hour))
	required := newGroup[string](t, dial(t, w.srv.ClientURL()), fleet.RequireEngine())
	l, loading, _ := begin(t, w.g[0], "k")
	l2 := newLoader()
	w.watched(1)
	waiting := []*call{start(t, w.g[1], "k", l2.fn), start(t, w.g[2], "k", l2.fn)}
	strict := start(t, required, "k", never)
	w.watched(4)
	stop(w.srv)
	stopped := time.Now()
	l2.running(t)
	l2.running(t)
	if d := time.Since(stopped); d > 5*time.Second {
		t.Errorf("fell back after %v, want at once", d)
	}
	l2.give("own")
	l2.give("own")
	for i, c := range waiting {
		c.want(t, fmt.Sprintf("waiter %d", i), "own")
		wantStats(t, "a waiter", w.g[1+i], fleet.Stats{Loads: 1, Fallbacks: 1})
	}
	if a := strict.wait(t); !errors.Is(a.err, fleet.ErrUnavailable) {
		t.Errorf("a waiter with RequireEngine: %+v, want ErrUnavailable", a)
	}

	w.srv = serve(t, w.opts)
	until(t, "the connections", func() bool { return w.srv.NumClients() == 5 })
	// The load that was under way has kept its lease of ten seconds.
	there := start(t, w.g[1], "k", never)
	until(t, "a watch", func() bool { return w.info().State.Consumers >= 1 })
	time.Sleep(100 * time.Millisecond)
	l.give("v")
	loading.want(t, "who went on loading", "v")
	there.want(t, "who came after the restart", "v")
	wantStats(t, "who went on loading", w.g[0], fleet.Stats{Loads: 1})
}

// A client is cut off, and its connection does not know it: it takes the
// EngineTimeout to find out. Callers' contexts are heeded meanwhile.
func TestCutOffClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	g, line := w.behind(fleet.EngineTimeout(time.Second))
	line.cut()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err, _ := g.DoContext(ctx, "impatient", never); err != context.DeadlineExceeded {
		t.Errorf("an impatient caller: %v, want deadline exceeded", err)
	}
	if d := time.Since(began); d > 900*time.Millisecond {
		t.Errorf("an impatient caller waited %v, want 50ms", d)
	}

	l, c, _ := begin(t, g, "k")
	if d := time.Since(began); d < time.Second {
		t.Errorf("fell back after %v, want the EngineTimeout of 1s", d)
	}
	l.give("alone")
	c.want(t, "the caller", "alone")

	line.mend()
	until(t, "what was held up", func() bool { return g.Stats().Callers.Running == 0 })
	l, c, _ = begin(t, w.g[0], "k2")
	there := start(t, g, "k2", never)
	until(t, "both watches", func() bool { return watches(w.js, "k2") == 2 })
	l.give("together")
	c.want(t, "who loads", "together")
	there.want(t, "who was cut off", "together")
}

// What the engine did not say in time is no error of the caller's context.
func TestErrUnavailableIsNoContextError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	g, line := w.behind(fleet.EngineTimeout(100*time.Millisecond), fleet.RequireEngine())
	line.cut()
	_, err, _ := g.DoContext(context.Background(), "k", never)
	if !errors.Is(err, fleet.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		t.Errorf("%v, want ErrUnavailable and nothing of a context", err)
	}
	if err := g.Forget(t.Context(), "k"); !errors.Is(err, fleet.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Forget: %v, want ErrUnavailable and nothing of a context", err)
	}
}

// The connection is down when the lease is to be renewed. That is tried again
// in time.
func TestRenewalIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	g, line := w.behind(fleet.Lease(6 * time.Second))
	l, here, ctx := begin(t, g, "k")
	there := start(t, w.g[0], "k", never)
	w.watched(2)
	time.Sleep(2500 * time.Millisecond)
	line.drop()
	time.Sleep(2 * time.Second) // the renewal was due after 3 seconds
	line.mend()
	time.Sleep(2500 * time.Millisecond)
	if ctx.Err() != nil {
		t.Error("fn was canceled")
	}
	l.give("v")
	here.want(t, "where fn ran", "v")
	there.want(t, "elsewhere", "v")
	wantStats(t, "where fn ran", g, fleet.Stats{Loads: 1})
}

// Everyone leaves before it is known whether the claim got through. It did,
// and is released: nobody waits for the end of the lease.
func TestLeavingBeforeTheClaimIsAnswered(t *testing.T) {
	t.Parallel()
	for _, opts := range map[string][]fleet.Option{"": nil, "RequireEngine": {fleet.RequireEngine()}} {
		// The line is mended in time for the reading back, or later.
		for _, after := range []time.Duration{200 * time.Millisecond, 800 * time.Millisecond, 1500 * time.Millisecond} {
			t.Run(fmt.Sprintf("%d options/after=%v", len(opts), after), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 1)
				g, line := w.behind(append(opts, fleet.Lease(time.Hour), fleet.EngineTimeout(500*time.Millisecond))...)
				line.set(false, true)
				c := start(t, g, "k", never)
				until(t, "the claim", func() bool { return w.info().State.LastSeq == 1 })
				c.cancel()
				if a := c.wait(t); a.err != context.Canceled {
					t.Errorf("who left: %+v, want context canceled", a)
				}
				time.Sleep(after)
				line.mend()
				if v, err, _ := w.g[0].DoContext(t.Context(), "k", returns("v")); v != "v" || err != nil {
					t.Errorf("the next call: %q, %v, want v", v, err)
				}
				wantStats(t, "who left", g, fleet.Stats{})
			})
		}
	}
}

// The same while waiting: when the renewal is overdue, the engine is asked,
// and has the EngineTimeout to answer.
func TestCutOffWhileWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, fleet.Lease(time.Second))
	g, line := w.behind(fleet.Lease(time.Second), fleet.EngineTimeout(2*time.Second))
	l, loading, _ := begin(t, w.g[0], "k")
	l2 := newLoader()
	waiting := start(t, g, "k", l2.fn)
	w.watched(2)
	line.cut()
	cut := time.Now()
	l2.running(t)
	if d := time.Since(cut); d > 4*time.Second {
		t.Errorf("fell back after %v, want three quarters of the lease of 1s and the EngineTimeout of 2s", d)
	}
	l2.give("alone")
	waiting.want(t, "who was cut off", "alone")
	wantStats(t, "who was cut off", g, fleet.Stats{Loads: 1, Fallbacks: 1})
	l.give("v")
	loading.want(t, "who loads", "v")
}

// A watch that brings nothing, for whatever reason, costs time and no more,
// if the result is still there.
func TestWatchLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, fleet.Lease(2*time.Second), fleet.Linger(time.Hour))
	l, loading, _ := begin(t, w.g[0], "k")
	waiting := start(t, w.g[1], "k", never)
	w.watched(2)
	w.blind()
	w.watched(1) // a new one, after three quarters of the lease
	l.give("v")
	loading.want(t, "who loads", "v")
	waiting.want(t, "who waits", "v")
}

// The load is forgotten while nobody hears of it, and another takes its
// place. Who waits for it, and who holds it, find where it has gone.
func TestForgetUnheard(t *testing.T) {
	t.Parallel()
	for _, over := range []bool{false, true} {
		t.Run(fmt.Sprintf("over=%v", over), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, fleet.Lease(2*time.Second), fleet.Linger(time.Hour))
			l, here, ctx := begin(t, w.g[0], "k")
			there := start(t, w.g[1], "k", never)
			w.watched(2)
			w.blind()
			if err := w.g[2].Forget(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			l2, newer, _ := begin(t, w.g[2], "k")
			if over {
				l.give("old") // and its write finds out
				here.want(t, "where the old load ran", "old")
			} else {
				time.Sleep(3 * time.Second)
				if ctx.Err() != nil {
					t.Error("the forgotten load was canceled")
				}
				l.give("old")
				here.want(t, "where the old load ran", "old")
			}
			there.want(t, "who waited for the old load", "old")
			l2.give("new")
			newer.want(t, "the next load's caller", "new")
		})
	}
}

// The same, if nothing takes its place; while the engine still has a mark of
// where it has gone, and when that is gone too.
func TestForgetUnheardAndAlone(t *testing.T) {
	t.Parallel()
	for _, linger := range []time.Duration{time.Second, time.Hour} {
		t.Run(fmt.Sprint("linger=", linger), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, fleet.Lease(4*time.Second), fleet.Linger(linger))
			l, here, ctx := begin(t, w.g[0], "k")
			there := start(t, w.g[1], "k", never)
			w.watched(2)
			w.blind()
			if err := w.g[2].Forget(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			w.watched(1) // who waits has looked, and watches again
			if ctx.Err() != nil {
				t.Error("the forgotten load was canceled")
			}
			l.give("old")
			here.want(t, "where the old load ran", "old")
			there.want(t, "who waited for it", "old")
		})
	}
}

// The answer to a claim is lost, and the load is over before that is known.
// The record is released all the same.
func TestLostAnswerOutlivesTheLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	g, line := w.behind(fleet.Lease(time.Hour), fleet.EngineTimeout(300*time.Millisecond))
	line.set(false, true)
	start(t, g, "k", returns("own")).want(t, "who had no answer", "own")
	if n := w.info().State.LastSeq; n != 1 {
		t.Fatalf("%d writes, want the claim", n)
	}
	line.mend()
	start(t, w.g[0], "k", returns("v")).want(t, "the next caller", "v")
}

// A user who may not watch still gets the results, since the engine is asked
// now and then.
func TestWatchRefused(t *testing.T) {
	t.Parallel()
	w := &world{t: t, opts: &server.Options{Users: []*server.User{
		{Username: "admin", Password: "a"},
		{Username: "blind", Password: "b", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"$JS.API.CONSUMER.>"}},
		}},
	}}}
	w.srv = serve(t, w.opts)
	w.js = dial(t, w.srv.ClientURL(), nats.UserInfo("admin", "a"))
	create(t, w.js, jetstream.KeyValueConfig{})
	opts := []fleet.Option{fleet.Lease(time.Hour), fleet.Linger(time.Hour), fleet.EngineTimeout(500 * time.Millisecond)}
	a := newGroup[string](t, w.js, opts...)
	b := newGroup[string](t, dial(t, w.srv.ClientURL(), nats.UserInfo("blind", "b")), opts...)
	l, here, _ := begin(t, a, "k")
	there := start(t, b, "k", never)
	time.Sleep(time.Second)
	l.give("v")
	here.want(t, "where fn ran", "v")
	there.want(t, "elsewhere", "v")
}

// A Forget that ended half-way does no harm to the next.
func TestForgetAfterHalfAForget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, fleet.Lease(2*time.Second))
	l, here, ctx := begin(t, w.g[0], "k")
	there := start(t, w.g[1], "k", never)
	w.watched(2)
	kv, err := w.js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	e, err := kv.Get(t.Context(), "k.now")
	if err != nil {
		t.Fatal(err)
	}
	var record struct{ Token string }
	if err := json.Unmarshal(e.Value(), &record); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(t.Context(), "k."+record.Token, e.Value(), jetstream.KeyTTL(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond)
	if err := w.g[1].Forget(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if ctx.Err() != nil {
		t.Error("the forgotten load was canceled")
	}
	l.give("old")
	here.want(t, "where fn ran", "old")
	there.want(t, "elsewhere", "old")
}

// The bucket is deleted and made anew while a load is under way: its
// revisions begin again. Nobody is left hanging. A process that cannot know how
// old a result is loads once more.
func TestBucketMadeAnewMidFlight(t *testing.T) {
	t.Parallel()
	for _, taken := range []bool{false, true} {
		t.Run(fmt.Sprintf("taken=%v", taken), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, fleet.Lease(2*time.Second), fleet.Linger(time.Hour)) // the watches are gone too
			for i := range 10 {
				w.g[0].DoContext(t.Context(), fmt.Sprint(i), returns("v")) // so that the old revisions are higher
			}
			l, old, _ := begin(t, w.g[0], "k")
			l2 := newLoader()
			there := start(t, w.g[1], "k", l2.fn)
			until(t, "both watches", func() bool { return watches(w.js, "k") == 2 })
			if err := w.js.DeleteKeyValue(t.Context(), bucket); err != nil {
				t.Fatal(err)
			}
			create(t, w.js, jetstream.KeyValueConfig{})
			if taken {
				l3, third, _ := begin(t, w.g[2], "k")
				time.Sleep(3 * time.Second)
				l3.give("anew")
				third.want(t, "who claimed it in the new bucket", "anew")
			} else {
				l2.running(t)
				l.give("old")
				time.Sleep(100 * time.Millisecond) // its write is rejected
			}
			l.give("anew")
			l2.give("anew")
			old.want(t, "who held it in the old one", "anew")
			there.want(t, "who waited", "anew")
		})
	}
}
