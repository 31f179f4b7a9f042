// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/natskv"
)

// Groups on a real server. What a Group does with any engine is tested in
// package fleet, on a fake one.

// Results, and what released and forgotten loads leave, are gone from the bucket
// after Linger, and leave no markers.
func TestNothingStaysInTheBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.g[0].DoContext(t.Context(), "done", returns("v"))
	w.g[0].DoContext(t.Context(), "failed", func(context.Context) (string, error) { return "", errors.New("broken") })
	_, released, _ := begin(t, w.g[0], "released")
	l, forgotten, _ := begin(t, w.g[0], "forgotten")
	released.cancel()
	if err := w.g[0].Forget(t.Context(), "forgotten"); err != nil {
		t.Fatal(err)
	}
	l.give("v")
	forgotten.want(t, "the caller", "v")
	until(t, "the release", func() bool { return w.g[0].Stats().Callers.Running == 0 })
	ended := time.Now()
	last := w.info().State.LastSeq
	if last < 10 {
		t.Errorf("%d writes, want 10: 4 claims, 3 results, a release, and at least 2 of Forget", last)
	}
	w.empty()
	if d := time.Since(ended); d > 3*time.Second {
		t.Errorf("the bucket was empty after %v, want the Linger of 1s and a second", d)
	}
	if n := w.info().State.LastSeq; n != last {
		t.Errorf("%d markers, want none", n-last)
	}
}

// However many callers a process has for a key, it asks the server once for
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
		t.Errorf("%d callers: %d messages, want 8: claim, watch, result, end of the watch; claim, read, watch, end of the watch", 2*callers, n)
	}
	if n := w.info().State.LastSeq - writes; n != 2 {
		t.Errorf("%d callers: %d writes, want 2", 2*callers, n)
	}
}

// The server stops while a load is under way. The processes that wait fall
// back at once, and the one that loads goes on; and when the server is back,
// all is as before.
func TestServerStoppedAndRestartedMidFlight(t *testing.T) {
	t.Parallel()
	patient := []fleet.Option{fleet.Lease(4 * time.Hour), fleet.EngineTimeout(time.Hour)}
	w := newWorld(t, 3, patient...)
	w.join(append(patient, fleet.RequireEngine())...)
	l, loading, _ := begin(t, w.g[0], "k")
	l2 := newLoader()
	w.watched(1)
	waiting := []*call{start(t, w.g[1], "k", l2.fn), start(t, w.g[2], "k", l2.fn)}
	strict := start(t, w.g[3], "k", never)
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
	for _, e := range w.e {
		until(t, "the connections", func() bool { return !isClosed(e.Down()) })
	}
	// The load that was under way has kept its lease.
	there := start(t, w.g[1], "k", never)
	until(t, "the caller to wait", func() bool { return watches(w.js, "k") >= 1 })
	l.give("v")
	loading.want(t, "the process that went on loading", "v")
	there.want(t, "a call after the restart", "v")
	wantStats(t, "the process that went on loading", w.g[0], fleet.Stats{Loads: 1})
}

// The bucket is deleted and made anew while a load is under way: its
// revisions begin again, and the watches are gone. No call is left hanging. A
// process that cannot tell how old a result is loads again.
func TestBucketMadeAnewMidFlight(t *testing.T) {
	t.Parallel()
	for _, taken := range []bool{false, true} {
		t.Run(fmt.Sprintf("taken=%v", taken), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, fleet.Lease(2*time.Second), fleet.EngineTimeout(500*time.Millisecond), fleet.Linger(time.Hour))
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
			// The server may refuse for as long as it removes the old one's files.
			until(t, "the new bucket", func() bool {
				return natskv.CreateBucket(t.Context(), w.js, jetstream.KeyValueConfig{Bucket: bucket}) == nil
			})
			if taken {
				l3, third, _ := begin(t, w.g[2], "k")
				time.Sleep(3 * time.Second)
				l3.give("anew")
				third.want(t, "where it was claimed in the new bucket", "anew")
			} else {
				l2.running(t)
				l.give("old")
				l2.give("anew")
				l.give("anew") // in case it loads once more
				// The holder has found its record gone, and may not know of the
				// other load; then it returns its own value.
				if a := old.wait(t); a.err != nil || a.v != "old" && a.v != "anew" {
					t.Errorf("the holder in the old bucket got %+v, want old or anew", a)
				}
				there.want(t, "where it was waited for", "anew")
				return
			}
			l.give("anew")
			old.want(t, "the holder in the old bucket", "anew")
			there.want(t, "where it was waited for", "anew")
		})
	}
}
