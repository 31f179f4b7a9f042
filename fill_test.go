// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight"
	"example.com/singleflight/internal/cachetest"
)

// This file is about Fill and Invalidate. The sections go from a hit to writers
// and readers that race.

// Hits.

// A hit is returned whether or not ctx is done and a flight for the key is up.
func TestHitTouchesNoFlight(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		cache.mapCache.Set("k", 42)
		done, cancel := context.WithCancel(t.Context())
		cancel()
		for name, ctx := range map[string]context.Context{"alive": t.Context(), "Background": context.Background(), "done": done} {
			if v, err, shared := g.Fill(ctx, cache, "k", nil); v != 42 || err != nil || shared {
				t.Errorf("Fill(%s) that hits = %v, %v, %v, want 42, nil, false", name, v, err, shared)
			}
		}
		wantStats(t, g, singleflight.Stats{})

		release := make(chan struct{})
		up := startDo(g, "k", after(release, 1))
		synctest.Wait()
		if v, err, shared := g.Fill(t.Context(), cache, "k", nil); v != 42 || err != nil || shared {
			t.Errorf("Fill that hits beside a flight = %v, %v, %v, want 42, nil, false", v, err, shared)
		}
		wantStats(t, g, singleflight.Stats{Executions: 1, InFlight: 1, Running: 1})
		close(release)
		synctest.Wait()
		up.want(t, "Do", 1, nil, false)
		cache.want(t, "after hits", 42, 0)
	})
}

// A panic in the first Get reaches its caller as it is, and not as a
// *PanicError.
func TestFirstGetPanicsInItsCaller(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		cache.onGet = func(int64) { panic("broken cache") }
		if p := mustPanic(t, "Fill", func() { g.Fill(t.Context(), cache, "k", nil) }); p != "broken cache" {
			t.Errorf("Fill panicked with %v, want broken cache", p)
		}
		wantStats(t, g, singleflight.Stats{})
	})
}

// Misses.

func TestMissLoadsOnceForAllAndStores(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		release := make(chan struct{})
		var loads atomic.Int64
		var callers []*caller[int]
		for range 10 {
			callers = append(callers, startFill(t.Context(), g, cache, "k", counted(&loads, release, 42)))
		}
		synctest.Wait()
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 9, InFlight: 1, Running: 1})
		close(release)
		synctest.Wait()
		for _, c := range callers {
			c.want(t, "Fill", 42, nil, true)
		}
		cache.want(t, "after a load", 42, 1)
		if n := loads.Load(); n != 1 {
			t.Errorf("10 callers of Fill: got %d loads, want 1", n)
		}
		if v, err, shared := g.Fill(t.Context(), cache, "k", nil); v != 42 || err != nil || shared {
			t.Errorf("Fill afterwards = %v, %v, %v, want 42, nil, false", v, err, shared)
		}
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 9})
	})
}

func TestMissWithADoneContextStartsAndJoinsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		ctx, because := context.WithCancelCause(t.Context()) // the error is ctx.Err(), and not the cause
		because(errBroken)
		if v, err, shared := g.Fill(ctx, cache, "k", nil); v != 0 || err != context.Canceled || shared {
			t.Errorf("Fill(canceled) = %v, %v, %v, want 0, %v, false", v, err, shared, context.Canceled)
		}
		wantStats(t, g, singleflight.Stats{})
	})
}

// Each caller of Fill waits on its own context, also the first. When that is
// done, it leaves and returns what DoContext returns then.
func TestCallerOfFillLeavesWhenItsContextIsDone(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		release := make(chan struct{})
		var callers [3]*caller[int]
		for i := range callers {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
			defer cancel()
			callers[i] = startFill(ctx, g, cache, "k", withCtx(after(release, 42)))
			synctest.Wait()
		}
		for i := range 2 {
			time.Sleep(time.Second)
			synctest.Wait()
			callers[i].want(t, "Fill at its deadline", 0, context.DeadlineExceeded, false)
			callers[i+1].waiting(t, "Fill with time left")
		}
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 2, Left: 2, InFlight: 1, Running: 1})
		close(release)
		synctest.Wait()
		callers[2].want(t, "Fill that stayed", 42, nil, false)
	})
}

// If the context can never be done, load runs on the caller's goroutine and
// gets the caller's context, as in DoContext.
func TestFillWithBackgroundRunsLoadInline(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		ctx := context.WithValue(context.Background(), ctxKey{}, "mine")
		here := goid()
		cache := newSpy[string, int]()
		v, err, shared := g.Fill(ctx, cache, "k", func(ctx2 context.Context) (int, error) {
			if there := goid(); there != here || ctx2 != ctx {
				t.Errorf("Fill(Background) ran load on goroutine %s with context %v, want goroutine %s and the caller's context", there, ctx2, here)
			}
			return 42, nil
		})
		if v != 42 || err != nil || shared {
			t.Errorf("Fill(Background) = %v, %v, %v, want 42, nil, false", v, err, shared)
		}
		cache.want(t, "after Fill(Background)", 42, 1)
		idle(t, g)
	})
}

// The load is for the cache.

// When all callers have left, the load goes on. Its context is not done, its
// flight can be joined, and it fills the cache.
func TestFillGoesOnWhenAllCallersHaveLeft(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		release := make(chan struct{})
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), ctxKey{}, "first"), time.Second)
		defer cancel()
		var loadCtx context.Context
		load := func(ctx context.Context) (int, error) {
			loadCtx = ctx
			<-release
			return 42, ctx.Err()
		}
		a := startFill(ctx, g, cache, "k", load)
		synctest.Wait()
		b := startFill(ctx, g, cache, "k", nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		a.want(t, "Fill", 0, context.DeadlineExceeded, false)
		b.want(t, "Fill", 0, context.DeadlineExceeded, false)
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 1, Left: 2, InFlight: 1, Running: 1})
		if _, ok := loadCtx.Deadline(); ok || loadCtx.Err() != nil || loadCtx.Value(ctxKey{}) != "first" {
			t.Errorf("load's context has a deadline: %v, Err() = %v, Value() = %v, want false, nil, first", ok, loadCtx.Err(), loadCtx.Value(ctxKey{}))
		}
		late := startFill(t.Context(), g, cache, "k", nil)
		synctest.Wait()
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 2, Left: 2, InFlight: 1, Running: 1})
		close(release)
		synctest.Wait()
		late.want(t, "Fill that joined when all had left", 42, nil, false)
		cache.want(t, "after the load", 42, 1)
		if loadCtx.Err() != nil {
			t.Errorf("after the load, Err of its context = %v, want nil", loadCtx.Err())
		}
		idle(t, g)
	})
}

// Five clients wait 50 ms each and try again, for a load that takes 120 ms.
// With Fill, one load serves all of them. With DoContext, which cancels the
// load when the last of them leaves, none is served.
func TestRetryingClientsAreServed(t *testing.T) {
	retry := func(t *testing.T, call func(ctx context.Context, load func(context.Context) (int, error)) error) (served, loads int64) {
		var s, l atomic.Int64
		load := func(ctx context.Context) (int, error) {
			l.Add(1)
			select {
			case <-time.After(120 * time.Millisecond):
				return 42, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		for range 5 {
			go func() {
				for range 10 {
					ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
					err := call(ctx, load)
					cancel()
					if err == nil {
						s.Add(1)
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			}()
		}
		time.Sleep(10 * time.Second)
		return s.Load(), l.Load()
	}
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newCache[string, int]()
		served, loads := retry(t, func(ctx context.Context, load func(context.Context) (int, error)) error {
			_, err, _ := g.Fill(ctx, cache, "k", load)
			return err
		})
		if served != 5 || loads != 1 {
			t.Errorf("Fill served %d of 5 clients by %d loads, want 5 by 1", served, loads)
		}
	})
	bubble(t, func(t *testing.T, g group[string, int]) {
		served, loads := retry(t, func(ctx context.Context, load func(context.Context) (int, error)) error {
			_, err, _ := g.DoContext(ctx, "k", load)
			return err
		})
		if served != 0 || loads != 10 {
			t.Errorf("DoContext served %d of 5 clients by %d loads, want 0 by 10", served, loads)
		}
	})
}

// Storing.

// Between the first Get and the start of the flight, another flight may have
// ended and stored a value. So the flight looks again, and does not store
// what it finds.
func TestCacheIsAskedAgainInsideTheFlight(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		for _, ctx := range []context.Context{t.Context(), context.Background()} {
			cache := newSpy[string, int]()
			cache.onGet = func(n int64) {
				if n == 1 {
					cache.mapCache.Set("k", 42) // just after the first Get has looked
				}
			}
			if v, err, shared := g.Fill(ctx, cache, "k", nil); v != 42 || err != nil || shared {
				t.Errorf("Fill = %v, %v, %v, want 42, nil, false", v, err, shared)
			}
			cache.want(t, "after the second Get hit", 42, 0)
		}
		wantStats(t, g, singleflight.Stats{Executions: 2}) // both without a load
	})
}

func TestSetReturnsBeforeAnyCallerIsReleased(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		release, set := make(chan struct{}), make(chan struct{})
		cache.onSet = func() { <-set }
		callers := map[string]*caller[int]{"Fill": startFill(t.Context(), g, cache, "k", withCtx(after(release, 42)))}
		synctest.Wait()
		callers["Fill that joins"] = startFill(t.Context(), g, cache, "k", nil)
		callers["Do that joins"] = startDo(g, "k", nil)
		callers["DoChan that joins"] = receive(g.DoChan("k", nil))
		callers["DoContext that joins"] = startContext(t.Context(), g, "k", nil)
		synctest.Wait()
		close(release)
		synctest.Wait()
		for name, c := range callers {
			c.waiting(t, name+", while Set is running")
		}
		close(set)
		synctest.Wait()
		for name, c := range callers {
			c.want(t, name, 42, nil, true)
		}
		cache.want(t, "afterwards", 42, 1)
	})
}

func TestFailedLoadIsNotStored(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		for _, ctx := range []context.Context{t.Context(), context.Background()} {
			v, err, _ := g.Fill(ctx, cache, "k", func(context.Context) (int, error) { return 7, errBroken })
			if v != 7 || err != errBroken {
				t.Errorf("Fill = %v, %v, want 7, %v", v, err, errBroken)
			}
		}
		cache.want(t, "after failed loads", -1, 0)
	})
}

// If the flight is forgotten before the load has ended, its value goes to its
// callers and not into the cache.
func TestForgottenFlightIsNotStored(t *testing.T) {
	for name, forget := range map[string]func(g group[string, int], cache *spyCache[string, int]){
		"Forget":         func(g group[string, int], _ *spyCache[string, int]) { g.Forget("k") },
		"ForgetUnshared": func(g group[string, int], _ *spyCache[string, int]) { g.ForgetUnshared("k") },
		"Invalidate":     func(g group[string, int], cache *spyCache[string, int]) { g.Invalidate(cache, "k") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g group[string, int]) {
				for _, ctx := range []context.Context{t.Context(), context.Background()} {
					cache := newSpy[string, int]()
					release := make(chan struct{})
					old := startFill(ctx, g, cache, "k", withCtx(after(release, 1)))
					synctest.Wait()
					forget(g, cache)
					young := startFill(ctx, g, cache, "k", withCtx(value(2)))
					synctest.Wait()
					young.want(t, "Fill afterwards", 2, nil, false)
					cache.want(t, "while the forgotten flight is up", 2, 1)
					close(release)
					synctest.Wait()
					old.want(t, "Fill of the forgotten flight", 1, nil, false)
					cache.want(t, "when the forgotten flight has ended", 2, 1)
				}
				idle(t, g)
			})
		})
	}
}

// Calls that forget a key while Set is running for it return when Set has
// returned. That is so for any number of them, and whether or not the flight
// has a caller left.
func TestForgetWaitsForSet(t *testing.T) {
	for _, state := range []string{"waits", "has left", "runs load"} {
		t.Run("the caller "+state, func(t *testing.T) {
			bubble(t, func(t *testing.T, g group[string, int]) {
				cache := newSpy[string, int]()
				set := make(chan struct{})
				cache.onSet = func() { <-set }
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if state == "runs load" {
					ctx = context.Background()
				}
				fill := startFill(ctx, g, cache, "k", withCtx(value(42)))
				synctest.Wait()
				if state == "has left" {
					cancel()
					synctest.Wait()
					fill.want(t, "Fill that left", 0, context.Canceled, false)
				}
				call := func(f func()) *caller[int] {
					return start(func() (int, error, bool) { f(); return 0, nil, false })
				}
				forgets := map[string]*caller[int]{
					"Forget":         call(func() { g.Forget("k") }),
					"another Forget": call(func() { g.Forget("k") }),
					"ForgetUnshared": start(func() (int, error, bool) { return 0, nil, !g.ForgetUnshared("k") }),
					"Invalidate":     call(func() { g.Invalidate(cache, "k") }),
				}
				synctest.Wait()
				forgets["a later Forget"] = call(func() { g.Forget("k") })
				other := call(func() { g.Forget("other") })
				synctest.Wait()
				for name, c := range forgets {
					c.waiting(t, name+" while Set is running")
				}
				other.want(t, "Forget of another key", 0, nil, false)
				// None has returned, so the flight can still be joined.
				wantStats(t, g, singleflight.Stats{Executions: 1, Left: g.Stats().Left, InFlight: 1, Running: 1})

				close(set)
				synctest.Wait()
				for name, c := range forgets {
					c.want(t, name+" when Set has returned", 0, nil, false)
				}
				if state != "has left" {
					fill.want(t, "Fill", 42, nil, false)
				}
				cache.want(t, "after Invalidate", -1, 1)
				idle(t, g)
			})
		})
	}
}

// ForgetUnshared does not forget a flight that is shared, and then does not
// wait for Set.
func TestForgetUnsharedThatForgetsNothingDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		release, set := make(chan struct{}), make(chan struct{})
		cache.onSet = func() { <-set }
		a := startFill(t.Context(), g, cache, "k", withCtx(after(release, 42)))
		synctest.Wait()
		b := startFill(t.Context(), g, cache, "k", nil)
		synctest.Wait()
		close(release)
		synctest.Wait()
		if g.ForgetUnshared("k") {
			t.Error("ForgetUnshared of a flight with two callers = true, want false")
		}
		close(set)
		synctest.Wait()
		a.want(t, "Fill", 42, nil, true)
		b.want(t, "Fill", 42, nil, true)
		cache.want(t, "afterwards", 42, 1)
	})
}

// ForgetUnshared forgets a flight of Fill that has no caller left.
func TestForgetUnsharedOfAFlightWithoutCallers(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		startFill(ctx, g, cache, "k", withCtx(after(release, 42)))
		synctest.Wait()
		cancel()
		synctest.Wait()
		if !g.ForgetUnshared("k") {
			t.Error("ForgetUnshared of a flight without callers = false, want true")
		}
		wantStats(t, g, singleflight.Stats{Executions: 1, Left: 1, Running: 1})
		close(release)
		synctest.Wait()
		cache.want(t, "afterwards", -1, 0)
	})
}

// A panic or Goexit in the second Get, in load or in Set counts as one in fn.
// It reaches every caller, nothing is stored, Forget does not wait any
// longer, and the key is free.
func TestFailureInsideTheFlightIsFns(t *testing.T) {
	fails := map[string]func(){
		"panics":       func() { explode("boom") },
		"calls Goexit": runtime.Goexit,
	}
	for how, fail := range fails {
		for _, where := range []string{"second Get", "load", "Set"} {
			for _, inline := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s %s/inline=%v", where, how, inline), func(t *testing.T) {
					bubble(t, func(t *testing.T, g group[string, int]) {
						ctx := t.Context()
						if inline {
							ctx = context.Background()
						}
						cache := newSpy[string, int]()
						release := make(chan struct{})
						load := withCtx(value(42))
						failLater := func() { <-release; fail() }
						switch where {
						case "second Get":
							cache.onGet = func(n int64) {
								if n == 2 {
									failLater()
								}
							}
						case "load":
							load = func(context.Context) (int, error) { failLater(); return 42, nil }
						case "Set":
							cache.onSet = failLater
						}
						callers := map[string]*caller[int]{"Fill": startFill(ctx, g, cache, "k", load)}
						synctest.Wait()
						callers["Fill that joins"] = startFill(t.Context(), g, cache, "k", nil)
						callers["Do that joins"] = startDo(g, "k", nil)
						synctest.Wait()
						forget := start(func() (int, error, bool) { g.Forget("k"); return 0, nil, false })
						synctest.Wait()
						close(release)
						synctest.Wait()
						forget.want(t, "Forget", 0, nil, false)
						for name, c := range callers {
							p, panicked := c.panic.(*singleflight.PanicError)
							switch {
							case how == "panics" && (!panicked || p.Value != "boom"):
								t.Errorf("%s: got panic %v (ended %v), want a *PanicError with boom", name, c.panic, c.over.Load())
							case how != "panics" && !c.exited:
								t.Errorf("%s: got panic %v, Goexit %v (ended %v), want Goexit", name, c.panic, c.exited, c.over.Load())
							}
						}
						cache.want(t, "afterwards", -1, cache.sets.Load())
						idle(t, g)
						cache.onGet, cache.onSet = func(int64) {}, func() {}
						if v, err, _ := g.Fill(ctx, cache, "k", withCtx(value(1))); v != 1 || err != nil {
							t.Errorf("Fill afterwards = %v, %v, want 1, nil", v, err)
						}
						cache.want(t, "after a load that did not fail", 1, cache.sets.Load())
					})
				})
			}
		}
	}
}

// Invalidate.

// A flight that begins in the middle of Invalidate may find the old value
// before it is deleted, and return it to its callers, which began before
// Invalidate returned. A call that begins afterwards does not join it, and it
// stores nothing.
func TestInvalidateForgetsAFlightThatBeganInTheMiddleOfIt(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		deleting, looking := make(chan struct{}), make(chan struct{})
		cache.onDelete = func() { <-deleting }
		cache.onGet = func(n int64) {
			switch n {
			case 1:
				cache.mapCache.Set("k", 1) // the old value
			case 2:
				<-looking // after the second Get has found it
			}
		}
		invalidate := start(func() (int, error, bool) { g.Invalidate(cache, "k"); return 0, nil, false })
		synctest.Wait()
		middle := startFill(t.Context(), g, cache, "k", withCtx(value(-1)))
		synctest.Wait()
		close(deleting)
		synctest.Wait()
		invalidate.want(t, "Invalidate", 0, nil, false)

		late := startFill(t.Context(), g, cache, "k", withCtx(value(2)))
		synctest.Wait()
		late.want(t, "Fill after Invalidate", 2, nil, false)
		close(looking)
		synctest.Wait()
		middle.want(t, "Fill in the middle of Invalidate", 1, nil, false)
		cache.want(t, "afterwards", 2, 1)
	})
}

// Invalidate forgets before it deletes. Otherwise the value of a load that
// ended between Delete and Forget would stay in the cache.
func TestInvalidateForgetsBeforeItDeletes(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		release := make(chan struct{})
		old := startFill(t.Context(), g, cache, "k", withCtx(after(release, 1)))
		synctest.Wait()
		cache.onDelete = func() { close(release); synctest.Wait() }
		g.Invalidate(cache, "k")
		synctest.Wait()
		old.want(t, "Fill", 1, nil, false)
		cache.want(t, "after Invalidate", -1, 0)
	})
}

// Fill beside the other methods.

// A call that joins a flight of Fill gets its value, and cannot abandon it.
func TestDoContextCannotAbandonAFlightOfFill(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		a := startFill(ctx, g, cache, "k", func(ctx context.Context) (int, error) { <-release; return 42, ctx.Err() })
		synctest.Wait()
		b := startContext(ctx, g, "k", nil)
		synctest.Wait()
		cancel()
		synctest.Wait()
		a.want(t, "Fill", 0, context.Canceled, false)
		b.want(t, "DoContext", 0, context.Canceled, false)
		c := startDo(g, "k", nil)
		synctest.Wait()
		close(release)
		synctest.Wait()
		c.want(t, "Do that joins a flight of Fill", 42, nil, false)
		cache.want(t, "afterwards", 42, 1)
	})
}

// In a flight that another method started, a call of Fill counts as one of
// DoContext, and stores nothing.
func TestFillInAnotherMethodsFlight(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		cache := newSpy[string, int]()
		short, cancelShort := context.WithTimeout(t.Context(), time.Second)
		defer cancelShort()
		long, cancelLong := context.WithTimeout(t.Context(), time.Minute)
		defer cancelLong()
		var fnCtx context.Context
		a := startContext(short, g, "k", func(ctx context.Context) (int, error) { fnCtx = ctx; return untilDone(ctx) })
		synctest.Wait()
		b := startFill(long, g, cache, "k", nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		a.want(t, "DoContext", 0, context.DeadlineExceeded, false)
		b.waiting(t, "Fill")
		if fnCtx.Err() != nil {
			t.Errorf("while a caller of Fill waits, Err of fn's context = %v, want nil", fnCtx.Err())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		b.want(t, "Fill", 0, context.DeadlineExceeded, false)
		if fnCtx.Err() != context.Canceled {
			t.Errorf("when a caller of Fill has left last, Err of fn's context = %v, want %v", fnCtx.Err(), context.Canceled)
		}
		idle(t, g)

		release := make(chan struct{})
		c := startDo(g, "k", after(release, 42))
		synctest.Wait()
		d := startFill(t.Context(), g, cache, "k", nil)
		synctest.Wait()
		close(release)
		synctest.Wait()
		c.want(t, "Do", 42, nil, true)
		d.want(t, "Fill that joins a flight of Do", 42, nil, true)
		cache.want(t, "afterwards", -1, 0)
	})
}

// A flight stores in the cache of the call that started it, and in no other.
func TestFillThatJoinsDoesNotStoreInItsOwnCache(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		mine, other := newSpy[string, int](), newSpy[string, int]()
		release := make(chan struct{})
		a := startFill(t.Context(), g, mine, "k", withCtx(after(release, 42)))
		synctest.Wait()
		b := startFill(t.Context(), g, other, "k", nil)
		synctest.Wait()
		close(release)
		synctest.Wait()
		a.want(t, "Fill", 42, nil, true)
		b.want(t, "Fill with another cache", 42, nil, true)
		mine.want(t, "the cache of the call that started the flight", 42, 1)
		other.want(t, "the cache of the call that joined", -1, 0)
	})
}

func TestKeyThatDoesNotEqualItselfIsLoadedAndNotStored(t *testing.T) {
	both(t, func(t *testing.T, g group[float64, int]) {
		cache := newSpy[float64, int]()
		for i := range 3 {
			if v, err, shared := g.Fill(t.Context(), cache, math.NaN(), withCtx(value(i))); v != i || err != nil || shared {
				t.Errorf("Fill(NaN) = %v, %v, %v, want %v, nil, false", v, err, shared, i)
			}
		}
		g.Invalidate(cache, math.NaN())
		if n := cache.sets.Load(); n != 0 {
			t.Errorf("Fill(NaN) made %d Sets, want 0", n)
		}
		wantStats(t, g, singleflight.Stats{Executions: 3})
	})
}

// Old values.

// Once Invalidate has returned, the cache holds nothing older than the write,
// and no read that begins then returns anything older. There are readers that
// give up, Sets and Deletes that take time, two writers, and calls of Forget
// without a write. A store that does without Invalidate has old values, or
// this would prove nothing.
func TestNothingOldAfterInvalidate(t *testing.T) {
	run := func(t *testing.T, store func(g cachetest.Group, cache singleflight.Cache[int, int]) cachetest.Store) (sum cachetest.Report) {
		for seed := range uint64(pick(4, 1)) {
			bubble(t, func(t *testing.T, g group[int, int]) {
				r := cachetest.Run(seed, 20*time.Second, store(g, cachetest.Slow(newCache[int, int]())))
				sum.Writes += r.Writes
				sum.Old += r.Old
				sum.Left += r.Left
				if sum.FirstOld == "" {
					sum.FirstOld = r.FirstOld
				}
				idle(t, g)
			})
		}
		return sum
	}
	t.Run("Fill", func(t *testing.T) {
		r := run(t, cachetest.Fill)
		t.Logf("%+v", r)
		if r.Old > 0 || r.Writes < 1000 || r.Left < 100 {
			t.Errorf("cachetest.Run(Fill) = %+v, want Old 0, at least 1000 Writes and 100 Left", r)
		}
	})
	t.Run("by hand", func(t *testing.T) {
		if r := run(t, cachetest.ByHand); r.Old == 0 {
			t.Errorf("cachetest.Run(ByHand) = %+v, want Old above 0, or this test does not work", r)
		} else {
			t.Logf("%+v", r)
		}
	})
}

// The same holds in real time, where goroutines run at once.
func TestNothingOldAfterInvalidateInRealTime(t *testing.T) {
	t.Run("by hand", func(t *testing.T) {
		for seed := range uint64(100) {
			var g singleflight.Group[int, int]
			r := cachetest.Run(seed, 100*time.Millisecond, cachetest.ByHand(&g, newCache[int, int]()))
			waitIdle(t, &g)
			if r.Old > 0 {
				return
			}
		}
		t.Error("100 times cachetest.Run(ByHand): got Old 0, want it above 0, or this test does not work")
	})
	both(t, func(t *testing.T, g group[int, int]) {
		r := cachetest.Run(1, *stressTime, cachetest.Fill(g, newCache[int, int]()))
		if r.Old > 0 || r.Writes == 0 {
			t.Errorf("cachetest.Run(Fill) = %+v, want Old 0, and some Writes", r)
		}
		waitIdle(t, g)
	})
}

// Allocations.

func TestFillAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	testFillAllocations(t, "user:42")
	testFillAllocations(t, bigKey{1, 2, 3})
}

func testFillAllocations[K comparable](t *testing.T, key K) {
	both(t, func(t *testing.T, g group[K, user]) {
		load := func(context.Context) (user, error) { return alice, nil }
		full := &twoWords[K, user]{newCache[K, user](), time.Minute}
		full.Set(key, alice)
		ctx := t.Context()
		if got := testing.AllocsPerRun(100, func() { g.Fill(ctx, full, key, load) }); got != 0 {
			t.Errorf("Fill(%T) that hits: got %v allocations, want 0", key, got)
		}
		empty := nothing[K, user]{}
		miss := testing.AllocsPerRun(100, func() { g.Fill(ctx, empty, key, load) })
		context := testing.AllocsPerRun(100, func() { g.DoContext(ctx, key, load) })
		if miss > context+1 {
			t.Errorf("Fill(%T) that misses: got %v allocations, want at most 1 more than the %v of DoContext", key, miss, context)
		}
	})
}
