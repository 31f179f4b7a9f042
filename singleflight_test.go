// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight"
)

// This file is about what all methods have in common: what is shared and when,
// in which memory order, and for which keys. It is also about DoChan, Forget and
// Stats.

// Sharing.

func TestDoReturnsWhatFnReturns(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		v, err, shared := g.Do("k", func() (int, error) { return 42, errBroken })
		if v != 42 || err != errBroken || shared {
			t.Errorf("Do = %v, %v, %v, want 42, %v, false", v, err, shared, errBroken)
		}
		idle(t, g)
	})
}

func TestDoShares(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		var runs atomic.Int64
		release := make(chan struct{})
		fn := func() (int, error) { runs.Add(1); <-release; return 42, nil }

		var callers []*caller[int]
		for range 10 {
			callers = append(callers, startDo(g, "k", fn))
		}
		synctest.Wait() // until all ten wait
		for _, c := range callers {
			c.waiting(t, "Do")
		}
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 9, InFlight: 1, Running: 1})

		close(release)
		synctest.Wait()
		for _, c := range callers {
			c.want(t, "Do", 42, nil, true)
		}
		if got := runs.Load(); got != 1 {
			t.Errorf("10 concurrent calls of Do: got %d executions, want 1", got)
		}
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 9})
	})
}

func TestDoRunsDifferentKeysAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, g group[int, int]) {
		release := make(chan struct{})
		var callers []*caller[int]
		for key := range 100 {
			callers = append(callers, startDo(g, key, after(release, key)))
		}
		synctest.Wait()
		wantStats(t, g, singleflight.Stats{Executions: 100, InFlight: 100, Running: 100})
		close(release)
		synctest.Wait()
		for key, c := range callers {
			c.want(t, fmt.Sprintf("Do(%d)", key), key, nil, false)
		}
	})
}

// All callers of a flight get the same value of shared, whatever methods start
// and join it. It is true if there are several callers when fn ends.
func TestSharedIsTheSameForAll(t *testing.T) {
	type kind = func(ctx context.Context, g group[string, int], fn func() (int, error)) *caller[int]
	kinds := map[string]kind{
		"Do": func(ctx context.Context, g group[string, int], fn func() (int, error)) *caller[int] {
			return startDo(g, "k", fn)
		},
		"DoChan": func(ctx context.Context, g group[string, int], fn func() (int, error)) *caller[int] {
			return receive(g.DoChan("k", fn))
		},
		"DoContext": func(ctx context.Context, g group[string, int], fn func() (int, error)) *caller[int] {
			return startContext(ctx, g, "k", withCtx(fn))
		},
		"DoContext(Background)": func(ctx context.Context, g group[string, int], fn func() (int, error)) *caller[int] {
			return startContext(context.Background(), g, "k", withCtx(fn))
		},
		"Fill": func(ctx context.Context, g group[string, int], fn func() (int, error)) *caller[int] {
			return startFill(ctx, g, nothing[string, int]{}, "k", withCtx(fn))
		},
		"Fill(Background)": func(ctx context.Context, g group[string, int], fn func() (int, error)) *caller[int] {
			return startFill(context.Background(), g, nothing[string, int]{}, "k", withCtx(fn))
		},
	}
	for first, starts := range kinds {
		t.Run(first, func(t *testing.T) {
			bubble(t, func(t *testing.T, g group[string, int]) {
				alone := starts(t.Context(), g, value(1))
				synctest.Wait()
				alone.want(t, first+" alone", 1, nil, false)
			})
			for second, joins := range kinds {
				bubble(t, func(t *testing.T, g group[string, int]) {
					release := make(chan struct{})
					a := starts(t.Context(), g, after(release, 2))
					synctest.Wait()
					b := joins(t.Context(), g, nil) // the fn of a call that joins is ignored
					synctest.Wait()
					wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 1, InFlight: 1, Running: 1})
					close(release)
					synctest.Wait()
					a.want(t, first+" joined by "+second, 2, nil, true)
					b.want(t, second+" joining "+first, 2, nil, true)
					wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 1})
				})
			}
		})
	}
}

func TestErrorIsSharedByIdentityAndNotRemembered(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		release := make(chan struct{})
		fail := func() (int, error) { <-release; return 7, errBroken }
		a := startDo(g, "k", fail)
		synctest.Wait()
		b, c := startDo(g, "k", fail), receive(g.DoChan("k", fail))
		synctest.Wait()
		close(release)
		synctest.Wait()
		a.want(t, "Do", 7, errBroken, true)
		b.want(t, "Do", 7, errBroken, true)
		c.want(t, "DoChan", 7, errBroken, true)
		if v, err, _ := g.Do("k", value(1)); v != 1 || err != nil {
			t.Errorf("Do after a failure = %v, %v, want 1, nil", v, err)
		}
	})
}

func TestWhoseGoroutineRunsFn(t *testing.T) {
	both(t, func(t *testing.T, g group[string, string]) {
		here := goid()
		fn := func() (string, error) { return goid(), nil }
		if there, _, _ := g.Do("k", fn); there != here {
			t.Errorf("Do on goroutine %s ran fn on goroutine %s, want the same", here, there)
		}
		if r := <-g.DoChan("k", fn); r.Val == here {
			t.Errorf("DoChan on goroutine %s ran fn there, want a new one", here)
		}
		if there, _, _ := g.DoContext(context.Background(), "k", withCtx(fn)); there != here {
			t.Errorf("DoContext(Background) on goroutine %s ran fn on goroutine %s, want the same", here, there)
		}
		if there, _, _ := g.DoContext(t.Context(), "k", withCtx(fn)); there == here {
			t.Errorf("DoContext on goroutine %s, with a context that can be done, ran fn there, want a new one", here)
		}
	})
}

// Freshness.

// As soon as a caller has a result, a new call gets a newer one. If waiters
// were woken before the key is free, their next calls would join the same
// flight.
func TestFreshAfterReturn(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int64]) {
		var loads atomic.Int64
		next := func() (int64, error) { return loads.Add(1), nil }
		kinds := []func() int64{
			func() int64 { v, _, _ := g.Do("k", next); return v },
			func() int64 { return (<-g.DoChan("k", next)).Val },
			func() int64 { v, _, _ := g.DoContext(t.Context(), "k", withCtx(next)); return v },
			func() int64 { v, _, _ := g.Fill(t.Context(), nothing[string, int64]{}, "k", withCtx(next)); return v },
		}
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				had := int64(0)
				for range pick(2000, 500) {
					began := loads.Load() // that load may have ended already
					v := kinds[i%len(kinds)]()
					if v <= had || v < began {
						t.Errorf("a call that began after load %d had ended got load %d, want a later one", max(had, began-1), v)
						return
					}
					had = v
				}
			})
		}
		wg.Wait()
		idle(t, g)
	})
}

// Memory order.

// Memory that fn writes without synchronization is read by every kind of caller
// and by the key's next fn. The race detector fails the test if it may not be.
func TestHappensBefore(t *testing.T) {
	both(t, func(t *testing.T, g group[string, *int]) {
		shared := 0 // written by each fn, and read by the next
		fn := func() (*int, error) {
			shared++
			n := shared
			return &n, nil
		}
		var wg sync.WaitGroup
		for range 4 {
			for _, get := range []func() *int{
				func() *int { v, _, _ := g.Do("k", fn); return v },
				func() *int { return (<-g.DoChan("k", fn)).Val },
				func() *int { v, _, _ := g.DoContext(t.Context(), "k", withCtx(fn)); return v },
				func() *int { v, _, _ := g.DoContext(context.Background(), "k", withCtx(fn)); return v },
				func() *int { v, _, _ := g.Fill(t.Context(), nothing[string, *int]{}, "k", withCtx(fn)); return v },
				func() *int {
					v, _, _ := g.Fill(context.Background(), nothing[string, *int]{}, "k", withCtx(fn))
					return v
				},
			} {
				wg.Go(func() {
					for range pick(500, 100) {
						if *get() == 0 {
							t.Error("a caller read 0, want the number that fn wrote")
						}
					}
				})
			}
		}
		wg.Wait()
		if n := g.Stats().Executions; uint64(shared) != n {
			t.Errorf("after %d executions: got a count of %d, want the same", n, shared)
		}
	})
}

// DoChan.

func TestDoChanReceivesOnceAndIsNeverClosed(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		release := make(chan struct{})
		chans := []<-chan singleflight.Result[int]{
			g.DoChan("k", after(release, 42)),
			g.DoChan("k", nil),
		}
		close(release)
		synctest.Wait()
		for i, ch := range chans {
			if cap(ch) != 1 {
				t.Errorf("capacity of DoChan's channel %d = %d, want 1", i, cap(ch))
			}
			if got, want := <-ch, (singleflight.Result[int]{Val: 42, Shared: true}); got != want {
				t.Errorf("DoChan's channel %d received %+v, want %+v", i, got, want)
			}
			select {
			case r, ok := <-ch:
				t.Errorf("DoChan's channel %d received %+v, %v after its result, want nothing", i, r, ok)
			default:
			}
		}
		idle(t, g)
	})
}

// DoChan has started or joined the flight when it returns, and waits for
// nothing, so that it may be called with a lock held that fn needs.
func TestDoChanJoinsBeforeItReturns(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		var mu sync.Mutex
		mu.Lock()
		fn := func() (int, error) { mu.Lock(); defer mu.Unlock(); return 1, nil }
		a := g.DoChan("k", fn)
		wantStats(t, g, singleflight.Stats{Executions: 1, InFlight: 1, Running: 1})
		b := g.DoChan("k", fn)
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 1, InFlight: 1, Running: 1})
		mu.Unlock()
		<-a
		<-b
	})
}

// A channel from which nobody receives keeps no goroutine. The bubble would
// fail if one were left.
func TestDoChanUnreadLeaksNothing(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		release := make(chan struct{})
		for range 10 {
			g.DoChan("k", after(release, 1))
		}
		close(release)
		synctest.Wait()
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 9})
	})
}

// Forget.

func TestForgetStartsAnew(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, string]) {
		releaseOld, releaseNew := make(chan struct{}), make(chan struct{})
		old := startDo(g, "k", after(releaseOld, "old"))
		synctest.Wait()
		g.Forget("k")
		wantStats(t, g, singleflight.Stats{Executions: 1, InFlight: 0, Running: 1})
		old.waiting(t, "Do of a forgotten flight")

		young := startDo(g, "k", after(releaseNew, "new"))
		synctest.Wait()
		wantStats(t, g, singleflight.Stats{Executions: 2, InFlight: 1, Running: 2})
		close(releaseNew)
		synctest.Wait()
		young.want(t, "Do after Forget", "new", nil, false)
		old.waiting(t, "Do of a forgotten flight")
		close(releaseOld)
		synctest.Wait()
		old.want(t, "Do of a forgotten flight", "old", nil, false)
		wantStats(t, g, singleflight.Stats{Executions: 2})
	})
}

// Callers that joined a flight before it was forgotten still share its result.
func TestForgetKeepsOldCallers(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, string]) {
		release := make(chan struct{})
		a := startDo(g, "k", after(release, "old"))
		synctest.Wait()
		b := startDo(g, "k", nil)
		synctest.Wait()
		g.Forget("k")
		close(release)
		synctest.Wait()
		a.want(t, "Do", "old", nil, true)
		b.want(t, "Do", "old", nil, true)
	})
}

func TestForgottenFlightKeepsItsSuccessor(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, string]) {
		releaseOld, releaseNew := make(chan struct{}), make(chan struct{})
		old := startDo(g, "k", after(releaseOld, "old"))
		synctest.Wait()
		g.Forget("k")
		young := startDo(g, "k", after(releaseNew, "new"))
		synctest.Wait()

		close(releaseOld) // the forgotten flight ends after its successor began
		synctest.Wait()
		old.want(t, "Do of a forgotten flight", "old", nil, false)
		wantStats(t, g, singleflight.Stats{Executions: 2, InFlight: 1, Running: 1})

		joiner := startDo(g, "k", nil)
		synctest.Wait()
		close(releaseNew)
		synctest.Wait()
		young.want(t, "Do after Forget", "new", nil, true)
		joiner.want(t, "Do joining the successor", "new", nil, true)
		idle(t, g)
	})
}

func TestForgetInsideFn(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, string]) {
		releaseOld, releaseNew := make(chan struct{}), make(chan struct{})
		old := startDo(g, "k", func() (string, error) {
			g.Forget("k")
			<-releaseOld
			return "old", nil
		})
		synctest.Wait()
		young := startDo(g, "k", after(releaseNew, "new"))
		synctest.Wait()
		close(releaseOld)
		synctest.Wait()
		old.want(t, "Do that forgets itself", "old", nil, false)
		wantStats(t, g, singleflight.Stats{Executions: 2, InFlight: 1, Running: 1})
		close(releaseNew)
		synctest.Wait()
		young.want(t, "Do after it", "new", nil, false)
		idle(t, g)

		// The record of a flight that forgot itself can be used again.
		if v, err, shared := g.Do("k", value("newer")); v != "newer" || err != nil || shared {
			t.Errorf("Do = %v, %v, %v, want newer, nil, false", v, err, shared)
		}
		wantStats(t, g, singleflight.Stats{Executions: 3})
	})
}

// Forget is called while flights end all the time. No ended flight is left in
// the table, and none removes another.
func TestForgetDuringCompletion(t *testing.T) {
	both(t, func(t *testing.T, g group[int, int]) {
		var wg sync.WaitGroup
		var stop atomic.Bool
		for range 2 {
			wg.Go(func() {
				for key := 0; !stop.Load(); key++ {
					g.Forget(key % 4)
					g.ForgetUnshared((key + 1) % 4)
				}
			})
		}
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() {
				for i := range pick(5000, 1000) {
					if v, err, _ := g.Do(i%4, value(i%4)); v != i%4 || err != nil {
						t.Errorf("Do(%d) = %v, %v, want %d, nil", i%4, v, err, i%4)
					}
				}
			})
		}
		workers.Wait()
		stop.Store(true)
		wg.Wait()
		idle(t, g)
	})
}

func TestForgetUnknownKey(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		g.Forget("k")
		if !g.ForgetUnshared("k") {
			t.Error("ForgetUnshared of an unknown key = false, want true")
		}
		wantStats(t, g, singleflight.Stats{})
		g.Do("k", value(1))
		g.Forget("k")
		wantStats(t, g, singleflight.Stats{Executions: 1})
	})
}

func TestForgetUnshared(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		release := make(chan struct{})
		a := startDo(g, "k", after(release, 1))
		synctest.Wait()
		if !g.ForgetUnshared("k") {
			t.Error("ForgetUnshared of a flight with one caller = false, want true")
		}
		b := startDo(g, "k", after(release, 2)) // starts anew
		synctest.Wait()
		c := startDo(g, "k", nil)
		synctest.Wait()
		if g.ForgetUnshared("k") {
			t.Error("ForgetUnshared of a flight with two callers = true, want false")
		}
		d := startDo(g, "k", nil) // still joins
		synctest.Wait()
		close(release)
		synctest.Wait()
		a.want(t, "Do of the forgotten flight", 1, nil, false)
		for _, c := range []*caller[int]{b, c, d} {
			c.want(t, "Do of the flight that was not forgotten", 2, nil, true)
		}
		wantStats(t, g, singleflight.Stats{Executions: 2, Joined: 2})
	})
}

// ForgetUnshared does not count a caller that has left.
func TestForgetUnsharedAfterLeaving(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		startDo(g, "k", after(release, 1))
		synctest.Wait()
		startContext(ctx, g, "k", nil)
		synctest.Wait()
		if g.ForgetUnshared("k") {
			t.Error("ForgetUnshared of a flight with two callers = true, want false")
		}
		cancel()
		synctest.Wait()
		if !g.ForgetUnshared("k") {
			t.Error("ForgetUnshared after one of two callers left = false, want true")
		}
		close(release)
	})
}

// Keys.

type coordinates struct {
	city string
	x    float64
}

func TestNaNKeyIsNeverShared(t *testing.T) {
	nan := math.NaN()
	t.Run("float64", func(t *testing.T) { testNaNKey(t, nan, 1) })
	t.Run("struct", func(t *testing.T) { testNaNKey(t, coordinates{"Paris", nan}, coordinates{"Paris", 1}) })
	t.Run("any", func(t *testing.T) { testNaNKey(t, any(nan), any(1)) })
	t.Run("array of any", func(t *testing.T) { testNaNKey(t, [2]any{1, coordinates{"Rome", nan}}, [2]any{}) })
}

func testNaNKey[K comparable](t *testing.T, nan, other K) {
	bubble(t, func(t *testing.T, g group[K, int]) {
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		keep := startDo(g, other, after(release, 0))
		calls := []*caller[int]{
			startDo(g, nan, after(release, 1)),
			startDo(g, nan, after(release, 1)),
			receive(g.DoChan(nan, after(release, 1))),
			startContext(t.Context(), g, nan, withCtx(after(release, 1))),
			startContext(context.Background(), g, nan, withCtx(after(release, 1))),
		}
		leaver := startContext(ctx, g, nan, untilDone)
		synctest.Wait()
		g.Forget(nan)
		if !g.ForgetUnshared(nan) {
			t.Error("ForgetUnshared(NaN) = false, want true")
		}
		wantStats(t, g, singleflight.Stats{Executions: 7, InFlight: 1, Running: 7})

		cancel()
		synctest.Wait()
		leaver.want(t, "DoContext(NaN) that left", 0, context.Canceled, false)
		close(release)
		synctest.Wait()
		for _, c := range calls {
			c.want(t, "call with a key that does not equal itself", 1, nil, false)
		}
		keep.want(t, "Do of another key", 0, nil, false)
		wantStats(t, g, singleflight.Stats{Executions: 7, Left: 1})

		// The records of such flights can be used again.
		again := startDo(g, other, value(3))
		synctest.Wait()
		again.want(t, "Do of another key", 3, nil, false)
		idle(t, g)
	})
}

func TestUnhashableKeyPanicsInItsCaller(t *testing.T) {
	keys := map[string]any{
		"slice":  []int{1},
		"map":    map[string]int{},
		"func":   func() {},
		"struct": struct{ v any }{[]int{1}},
		// A comparison of these ends at the NaN, and does not come to the
		// slice.
		"array with NaN": [2]any{math.NaN(), []int{1}},
		"struct with NaN": struct {
			f float64
			v any
		}{math.NaN(), []int{1}},
	}
	for name, bad := range keys {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/busy=%v", name, busy), func(t *testing.T) {
				bubble(t, func(t *testing.T, g group[any, int]) {
					release := make(chan struct{})
					var up *caller[int]
					if busy {
						up = startDo(g, any("k"), after(release, 1))
						synctest.Wait()
					}
					before := g.Stats()
					cache := newSpy[any, int]()
					done, cancel := context.WithCancel(t.Context())
					cancel()
					for method, call := range map[string]func(){
						"Do":              func() { g.Do(bad, value(1)) },
						"DoChan":          func() { g.DoChan(bad, value(1)) },
						"DoContext":       func() { g.DoContext(t.Context(), bad, withCtx(value(1))) },
						"DoContext(done)": func() { g.DoContext(done, bad, withCtx(value(1))) },
						"Fill":            func() { g.Fill(t.Context(), cache, bad, withCtx(value(1))) },
						"Fill(done)":      func() { g.Fill(done, cache, bad, withCtx(value(1))) },
						"Invalidate":      func() { g.Invalidate(cache, bad) },
						"Forget":          func() { g.Forget(bad) },
						"ForgetUnshared":  func() { g.ForgetUnshared(bad) },
					} {
						if err, ok := mustPanic(t, method, call).(runtime.Error); !ok {
							t.Errorf("%s panicked with %v, want a runtime.Error", method, err)
						}
					}
					wantStats(t, g, before)
					if gets, deletes := cache.gets.Load(), cache.deletes.Load(); gets+deletes > 0 {
						t.Errorf("Fill and Invalidate made %d Gets and %d Deletes, want none", gets, deletes)
					}

					// The Group goes on working, because no call has kept its
					// mutex.
					if v, err, shared := g.Do("other", value(2)); v != 2 || err != nil || shared {
						t.Errorf("Do = %v, %v, %v, want 2, nil, false", v, err, shared)
					}
					close(release)
					synctest.Wait()
					if busy {
						up.want(t, "Do", 1, nil, false)
					}
					idle(t, g)
				})
			})
		}
	}
}

func TestKeysMatchByEquality(t *testing.T) {
	bubble(t, func(t *testing.T, g group[any, string]) {
		release := make(chan struct{})
		keys := []any{1, int64(1), "1", nil, coordinates{"Paris", 0}, struct{}{}}
		var callers []*caller[string]
		for _, key := range keys {
			callers = append(callers, startDo(g, key, after(release, fmt.Sprintf("%T", key))))
		}
		negativeZero := coordinates{"Paris", math.Copysign(0, -1)} // equal to its positive twin
		synctest.Wait()
		joiner := startDo(g, any(negativeZero), nil)
		synctest.Wait()
		close(release)
		synctest.Wait()
		for i, c := range callers {
			c.want(t, fmt.Sprintf("Do(%T)", keys[i]), fmt.Sprintf("%T", keys[i]), nil, i == 4)
		}
		joiner.want(t, "Do of an equal key", "singleflight_test.coordinates", nil, true)
	})
}

// Stats.

func TestStatsCountEveryCallOnce(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		wantStats(t, g, singleflight.Stats{})
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())

		startDo(g, "a", after(release, 1))
		g.DoChan("b", after(release, 1))
		startContext(ctx, g, "c", withCtx(after(release, 1)))
		synctest.Wait()
		wantStats(t, g, singleflight.Stats{Executions: 3, InFlight: 3, Running: 3})

		startDo(g, "a", nil)
		g.DoChan("a", nil)
		startContext(ctx, g, "a", nil)
		synctest.Wait()
		wantStats(t, g, singleflight.Stats{Executions: 3, Joined: 3, InFlight: 3, Running: 3})

		cancel() // one caller leaves a, and the only one of c leaves
		synctest.Wait()
		wantStats(t, g, singleflight.Stats{Executions: 3, Joined: 3, Left: 2, InFlight: 2, Running: 3})

		if _, err, _ := g.DoContext(ctx, "d", nil); err != context.Canceled { // is not counted
			t.Errorf("DoContext(canceled): got error %v, want %v", err, context.Canceled)
		}
		g.Forget("a")
		wantStats(t, g, singleflight.Stats{Executions: 3, Joined: 3, Left: 2, InFlight: 1, Running: 3})

		close(release)
		synctest.Wait()
		wantStats(t, g, singleflight.Stats{Executions: 3, Joined: 3, Left: 2})
	})
}

// Groups in synctest bubbles.

var (
	packageLevel        singleflight.Group[string, int]
	packageLevelSharded singleflight.ShardedGroup[string, int]
)

// A Group outlives the bubbles that use it, and nothing that belongs to one
// bubble may turn up in the next. So a record that is used again must have no
// channel.
func TestPackageLevelGroupInManyBubbles(t *testing.T) {
	for _, g := range []group[string, int]{&packageLevel, &packageLevelSharded} {
		for i := range 20 {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				slow := func() (int, error) { time.Sleep(time.Minute); return i, nil }
				a := startDo(g, "k", slow)
				synctest.Wait()
				b, c := startDo(g, "k", nil), receive(g.DoChan("k", nil))
				d := startContext(ctx, g, "k", nil)
				e := startContext(ctx, g, "alone", untilDone)
				cache := newCache[string, int]()
				f := startFill(ctx, g, cache, "filled", withCtx(slow))
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				f.want(t, "Fill", 0, context.DeadlineExceeded, false)
				if v, ok := cache.Get("filled"); v != i || !ok {
					t.Errorf("Get after Fill = %v, %v, want %v, true", v, ok, i)
				}
				g.Invalidate(cache, "filled")
				a.want(t, "Do", i, nil, true)
				b.want(t, "Do", i, nil, true)
				c.want(t, "DoChan", i, nil, true)
				d.want(t, "DoContext", 0, context.DeadlineExceeded, false)
				e.want(t, "DoContext", 0, context.DeadlineExceeded, false)
				for j := range 3 {
					if v, _, shared := g.Do("solo", value(j)); v != j || shared {
						t.Errorf("Do alone = %v, shared %v, want %v, false", v, shared, j)
					}
				}
				idle(t, g)
			})
		}
	}
}
