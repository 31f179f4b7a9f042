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
	"example.com/singleflight/fleet/internal/fleettest"
	"example.com/singleflight/fleet/natskv"
)

// Groups on a real server. What a Group does with any engine is tested in
// package fleet, on a fake one.

// Results, and what released and forgotten loads leave, are gone from the bucket
// after Linger, and leave no markers.
func TestNothingStaysInTheBucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.g[0].DoContext(t.Context(), "done", fleettest.Returns("v"))
	w.g[0].DoContext(t.Context(), "failed", func(context.Context) (string, error) { return "", errors.New("broken") })
	_, released, _ := fleettest.Begin(t, w.g[0], "released")
	l, forgotten, _ := fleettest.Begin(t, w.g[0], "forgotten")
	released.Cancel()
	if err := w.g[0].Forget(t.Context(), "forgotten"); err != nil {
		t.Fatal(err)
	}
	l.Give("v")
	forgotten.Want(t, "the caller", "v")
	fleettest.Until(t, "the release", func() bool { return w.g[0].Stats().Callers.Running == 0 })
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
		g.DoContext(t.Context(), fmt.Sprint("warm", i), fleettest.Returns("v"))
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
	l := fleettest.NewLoader()
	crowd := func(g *fleet.Group[string], fn func(context.Context) (string, error)) (calls []*fleettest.Call) {
		for range callers {
			calls = append(calls, fleettest.Start(t, g, "k", fn))
		}
		fleettest.Until(t, "all callers", func() bool { return g.Stats().Callers.Joined == callers-1 })
		return calls
	}

	apiBefore, msgsBefore := api(), msgs()
	here := crowd(w.g[0], l.Fn)
	l.Running(t)
	fleettest.Until(t, "the watch", func() bool { return api() == apiBefore+1 })
	there := crowd(w.g[1], fleettest.Never)
	fleettest.Until(t, "the other's watch", func() bool { return api() == apiBefore+2 })
	l.Give("v")
	for _, c := range append(here, there...) {
		c.Want(t, "a caller", "v")
	}
	fleettest.Until(t, "the end of the watches", func() bool { return api() == apiBefore+4 })
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
	l, loading, _ := fleettest.Begin(t, w.g[0], "k")
	l2 := fleettest.NewLoader()
	w.watched(1)
	waiting := []*fleettest.Call{fleettest.Start(t, w.g[1], "k", l2.Fn), fleettest.Start(t, w.g[2], "k", l2.Fn)}
	strict := fleettest.Start(t, w.g[3], "k", fleettest.Never)
	w.watched(4)
	stop(w.srv)
	stopped := time.Now()
	l2.Running(t)
	l2.Running(t)
	if d := time.Since(stopped); d > 5*time.Second {
		t.Errorf("fell back after %v, want at once", d)
	}
	l2.Give("own")
	l2.Give("own")
	for i, c := range waiting {
		c.Want(t, fmt.Sprintf("waiter %d", i), "own")
		fleettest.WantStats(t, "a waiter", w.g[1+i], fleet.Stats{Loads: 1, Fallbacks: 1})
	}
	if a := strict.Wait(t); !errors.Is(a.Err, fleet.ErrUnavailable) {
		t.Errorf("a waiter with RequireEngine: %+v, want ErrUnavailable", a)
	}

	w.srv = serve(t, w.opts)
	for _, e := range w.e {
		fleettest.Until(t, "the connections", func() bool { return !isClosed(e.Down()) })
	}
	// The load that was under way has kept its lease.
	there := fleettest.Start(t, w.g[1], "k", fleettest.Never)
	fleettest.Until(t, "the caller to wait", func() bool { return watches(w.js, "k") >= 1 })
	l.Give("v")
	loading.Want(t, "the process that went on loading", "v")
	there.Want(t, "a call after the restart", "v")
	fleettest.WantStats(t, "the process that went on loading", w.g[0], fleet.Stats{Loads: 1})
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
				w.g[0].DoContext(t.Context(), fmt.Sprint(i), fleettest.Returns("v")) // so that the old revisions are higher
			}
			l, old, _ := fleettest.Begin(t, w.g[0], "k")
			l2 := fleettest.NewLoader()
			there := fleettest.Start(t, w.g[1], "k", l2.Fn)
			fleettest.Until(t, "both watches", func() bool { return watches(w.js, "k") == 2 })
			if err := w.js.DeleteKeyValue(t.Context(), bucket); err != nil {
				t.Fatal(err)
			}
			// The server may refuse for as long as it removes the old one's files.
			fleettest.Until(t, "the new bucket", func() bool {
				return natskv.CreateBucket(t.Context(), w.js, jetstream.KeyValueConfig{Bucket: bucket}) == nil
			})
			if taken {
				l3, third, _ := fleettest.Begin(t, w.g[2], "k")
				fleettest.Until(t, "all to wait for it", func() bool { return watches(w.js, "k") == 3 })
				l3.Give("anew")
				third.Want(t, "where it was claimed in the new bucket", "anew")
			} else {
				l2.Running(t)
				l.Give("old")
				l2.Give("anew")
				l.Give("anew") // in case it loads once more
				// The holder has found its record gone, and may not know of the
				// other load; then it returns its own value.
				if a := old.Wait(t); a.Err != nil || a.V != "old" && a.V != "anew" {
					t.Errorf("the holder in the old bucket got %+v, want old or anew", a)
				}
				there.Want(t, "where it was waited for", "anew")
				return
			}
			l.Give("anew")
			old.Want(t, "the holder in the old bucket", "anew")
			there.Want(t, "where it was waited for", "anew")
		})
	}
}
