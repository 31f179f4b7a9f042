// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight"
)

// This file is about contexts: what a caller's context does, and what fn's
// context is. The sections go from one call to many that race.

// One call.

func TestDoContextReturnsWhatFnReturns(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		fail := func(context.Context) (int, error) { return 42, errBroken }
		for name, ctx := range map[string]context.Context{"cancelable": t.Context(), "Background": context.Background()} {
			if v, err, shared := g.DoContext(ctx, "k", fail); v != 42 || err != errBroken || shared {
				t.Errorf("DoContext(%s) = %v, %v, %v, want 42, %v, false", name, v, err, shared, errBroken)
			}
		}
		wantStats(t, g, singleflight.Stats{Executions: 2})
	})
}

func TestContextDoneOnEntryStartsAndJoinsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		canceled, because := context.WithCancelCause(t.Context()) // the error is ctx.Err(), and not the cause
		because(errBroken)
		expired, cancel := context.WithTimeout(t.Context(), -1)
		defer cancel()
		fn := func(context.Context) (int, error) { t.Error("DoContext called fn, want it not to"); return 1, nil }
		check := func() {
			t.Helper()
			if v, err, shared := g.DoContext(canceled, "k", fn); v != 0 || err != context.Canceled || shared {
				t.Errorf("DoContext(canceled) = %v, %v, %v, want 0, %v, false", v, err, shared, context.Canceled)
			}
			if v, err, shared := g.DoContext(expired, "k", fn); v != 0 || err != context.DeadlineExceeded || shared {
				t.Errorf("DoContext(expired) = %v, %v, %v, want 0, %v, false", v, err, shared, context.DeadlineExceeded)
			}
		}
		check()
		wantStats(t, g, singleflight.Stats{})

		release := make(chan struct{})
		a := startDo(g, "k", after(release, 1))
		synctest.Wait()
		check()
		close(release)
		synctest.Wait()
		a.want(t, "Do", 1, nil, false)
		wantStats(t, g, singleflight.Stats{Executions: 1})
	})
}

func TestNilContextPanics(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		v := mustPanic(t, "DoContext(nil)", func() {
			g.DoContext(nil, "k", withCtx(value(1))) //lint:ignore SA1012 that is what is tested
		})
		cache := newSpy[string, int]()
		w := mustPanic(t, "Fill(nil)", func() {
			g.Fill(nil, cache, "k", withCtx(value(1))) //lint:ignore SA1012 that is what is tested
		})
		const want = "singleflight: nil Context"
		if v != want {
			t.Errorf("DoContext(nil) panicked with %v, want %s", v, want)
		}
		if w != want || cache.gets.Load() != 0 {
			t.Errorf("Fill(nil) panicked with %v after %d Gets, want %s after none", w, cache.gets.Load(), want)
		}
		wantStats(t, g, singleflight.Stats{})
		g.Do("k", value(1))
		idle(t, g)
	})
}

// fn's context.

// Where fn runs on the goroutine of its caller, it gets the caller's own
// context, and nothing cancels that.
func TestInlineFnGetsTheCallersContext(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		ctx := context.WithValue(context.Background(), ctxKey{}, "mine")
		var fnCtx context.Context
		g.DoContext(ctx, "k", func(ctx context.Context) (int, error) { fnCtx = ctx; return 1, nil })
		if fnCtx != ctx || fnCtx.Err() != nil {
			t.Errorf("DoContext(Background) called fn with %v (Err() %v), want the caller's context, not done", fnCtx, fnCtx.Err())
		}
	})
}

func TestFnContextHasTheFirstCallersValuesAndNoDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		first, cancel := context.WithTimeout(context.WithValue(t.Context(), ctxKey{}, "first"), time.Second)
		defer cancel()
		second := context.WithValue(t.Context(), ctxKey{}, "second")
		release := make(chan struct{})
		var fnCtx context.Context
		a := startContext(first, g, "k", func(ctx context.Context) (int, error) {
			fnCtx = ctx
			<-release
			return 1, ctx.Err()
		})
		synctest.Wait()
		b := startContext(second, g, "k", nil)
		synctest.Wait()
		if v := fnCtx.Value(ctxKey{}); v != "first" {
			t.Errorf("Value of fn's context = %v, want first", v)
		}
		if d, ok := fnCtx.Deadline(); ok {
			t.Errorf("Deadline of fn's context = %v, want none", d)
		}
		time.Sleep(2 * time.Second) // the first caller's deadline passes
		synctest.Wait()
		a.want(t, "first DoContext", 0, context.DeadlineExceeded, false)
		close(release)
		synctest.Wait()
		b.want(t, "second DoContext", 1, nil, false) // fn's context was alive to the end
	})
}

// When the caller has the result, fn's context is canceled, so that contexts
// which were derived from it are released.
func TestFnContextIsCanceledWhenFnHasReturned(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, context.Context]) {
		inner := make(chan context.Context, 1)
		ctx, _, _ := g.DoContext(t.Context(), "k", func(ctx context.Context) (context.Context, error) {
			child, cancel := context.WithTimeout(ctx, time.Hour)
			context.AfterFunc(t.Context(), cancel)
			inner <- child
			return ctx, nil
		})
		if ctx.Err() != context.Canceled {
			t.Errorf("after DoContext, Err of fn's context = %v, want %v", ctx.Err(), context.Canceled)
		}
		if child := <-inner; child.Err() != context.Canceled {
			t.Errorf("after DoContext, Err of a context derived from fn's = %v, want %v", child.Err(), context.Canceled)
		}
	})
}

func TestFnContextIsCanceledBeforeJoinersHaveTheResult(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, context.Context]) {
		release := make(chan struct{})
		startContext(t.Context(), g, "k", func(ctx context.Context) (context.Context, error) { <-release; return ctx, nil })
		synctest.Wait()
		errAtReturn := make(chan error, 2)
		go func() { ctx, _, _ := g.Do("k", nil); errAtReturn <- ctx.Err() }()
		go func() { r := <-g.DoChan("k", nil); errAtReturn <- r.Val.Err() }()
		synctest.Wait()
		close(release)
		for range 2 {
			if err := <-errAtReturn; err != context.Canceled {
				t.Errorf("when a joiner has the result, Err of fn's context = %v, want %v", err, context.Canceled)
			}
		}
	})
	// With many joiners, the first run long before the last are woken.
	both(t, func(t *testing.T, g group[string, context.Context]) {
		const joiners = 1000
		for range 20 {
			release := make(chan struct{})
			go g.DoContext(t.Context(), "k", func(ctx context.Context) (context.Context, error) { <-release; return ctx, nil })
			until(func() bool { return g.Stats().InFlight == 1 })
			joined := g.Stats().Joined
			var early atomic.Int64
			var wg sync.WaitGroup
			for range joiners {
				wg.Go(func() {
					if ctx, _, _ := g.Do("k", nil); ctx.Err() == nil {
						early.Add(1)
					}
				})
			}
			until(func() bool { return g.Stats().Joined == joined+joiners })
			close(release)
			wg.Wait()
			if n := early.Load(); n > 0 {
				t.Errorf("%d of %d joiners had the result before fn's context was canceled, want 0", n, joiners)
			}
		}
	})
}

// DoContext registers nothing with a caller's context, so that nothing is
// left there if it is never canceled.
func TestNothingIsRegisteredWithTheCallersContext(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		ctx := &countingContext{Context: t.Context(), done: make(chan struct{})}
		_, stop := context.WithCancel(ctx)
		stop()
		if n := ctx.registered.Swap(0); n != 1 {
			t.Fatalf("context.WithCancel made %d registrations, want 1, or this test does not count them", n)
		}
		for range 100 {
			g.DoContext(ctx, "k", func(ctx context.Context) (int, error) {
				child, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				return 1, child.Err()
			})
		}
		if n := ctx.registered.Load(); n != 0 {
			t.Errorf("100 calls of DoContext made %d registrations with their context, want 0", n)
		}
	})
}

// Leaving.

// A caller leaves as soon as its own context is done, whether it started the
// flight or joined it. The other caller stays.
func TestCallerLeavesWhenItsContextIsDone(t *testing.T) {
	for _, firstLeaves := range []bool{true, false} {
		t.Run(fmt.Sprintf("first=%v", firstLeaves), func(t *testing.T) {
			bubble(t, func(t *testing.T, g group[string, int]) {
				release := make(chan struct{})
				short, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				contexts := []context.Context{t.Context(), short}
				if firstLeaves {
					contexts[0], contexts[1] = contexts[1], contexts[0]
				}
				var fnCtx context.Context
				a := startContext(contexts[0], g, "k", func(ctx context.Context) (int, error) {
					fnCtx = ctx
					return after(release, 42)()
				})
				synctest.Wait()
				b := startContext(contexts[1], g, "k", nil)
				stayer, leaver := a, b
				if firstLeaves {
					stayer, leaver = b, a
				}
				time.Sleep(time.Second - time.Nanosecond)
				synctest.Wait()
				leaver.waiting(t, "DoContext before its deadline")
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				leaver.want(t, "DoContext at its deadline", 0, context.DeadlineExceeded, false)
				stayer.waiting(t, "DoContext with time left")
				if err := fnCtx.Err(); err != nil {
					t.Errorf("while a caller waits, Err of fn's context = %v, want nil", err)
				}
				wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 1, Left: 1, InFlight: 1, Running: 1})
				close(release)
				synctest.Wait()
				stayer.want(t, "DoContext that stayed", 42, nil, false) // the other one had left
				idle(t, g)
			})
		})
	}
}

// If fn wraps its errors, an error that is equal to ctx.Err() by == tells a
// caller that it has left, and not that fn ran out of time.
func TestCallerCanTellWhetherItHasLeft(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		fn := func(ctx context.Context) (int, error) {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			<-ctx.Done()
			return 0, fmt.Errorf("loading: %w", ctx.Err())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err, _ := g.DoContext(ctx, "k", fn); err == nil || err != ctx.Err() {
			t.Errorf("DoContext of a caller that has left: got error %v, want ctx.Err() = %v", err, ctx.Err())
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err, _ := g.DoContext(ctx, "k", fn); !errors.Is(err, context.DeadlineExceeded) || err == ctx.Err() {
			t.Errorf("DoContext whose fn ran out of time: got error %v, want fn's error, and not ctx.Err() = %v", err, ctx.Err())
		}
		time.Sleep(time.Minute)
	})
}

// A nil error would say that the zero value is a result.
func TestCallerThatLeavesNeverGetsANilError(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		ctx := doneWithoutErr{t.Context()}
		release := make(chan struct{})
		for name, c := range map[string]*caller[int]{
			"DoContext": startContext(ctx, g, "a", withCtx(after(release, 1))),
			"Fill":      startFill(ctx, g, newCache[string, int](), "b", withCtx(after(release, 1))),
		} {
			synctest.Wait()
			c.want(t, name, 0, context.Canceled, false)
		}
		close(release)
	})
}

func TestLastCallerOutCancelsFn(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		ctx1, because1 := context.WithCancelCause(t.Context()) // the error is not the cause
		ctx2, cancel2 := context.WithCancel(t.Context())
		var fnCtx context.Context
		a := startContext(ctx1, g, "k", func(ctx context.Context) (int, error) { fnCtx = ctx; return untilDone(ctx) })
		synctest.Wait()
		b := startContext(ctx2, g, "k", nil)
		synctest.Wait()
		because1(errBroken)
		synctest.Wait()
		a.want(t, "DoContext that left first", 0, context.Canceled, false)
		b.waiting(t, "the other DoContext")
		if fnCtx.Err() != nil {
			t.Errorf("while a caller waits, Err of fn's context = %v, want nil", fnCtx.Err())
		}
		cancel2()
		synctest.Wait()
		b.want(t, "DoContext that left last", 0, context.Canceled, false)
		if fnCtx.Err() != context.Canceled {
			t.Errorf("when the last caller has left, Err of fn's context = %v, want %v", fnCtx.Err(), context.Canceled)
		}
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 1, Left: 2})
	})
}

func TestForgottenFlightIsCanceledWhenItsCallersLeave(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		ctx, cancel := context.WithCancel(t.Context())
		old := startContext(ctx, g, "k", untilDone)
		synctest.Wait()
		g.Forget("k")
		synctest.Wait()
		old.waiting(t, "DoContext of a forgotten flight") // Forget does not cancel
		release := make(chan struct{})
		young := startContext(t.Context(), g, "k", withCtx(after(release, 2)))
		synctest.Wait()
		cancel()
		synctest.Wait()
		old.want(t, "DoContext of a forgotten flight", 0, context.Canceled, false)
		wantStats(t, g, singleflight.Stats{Executions: 2, Left: 1, InFlight: 1, Running: 1})
		close(release)
		synctest.Wait()
		young.want(t, "DoContext after Forget", 2, nil, false)
	})
}

// A canceled flight cannot be joined: the next caller starts a flight at
// once, while the old fn, which ignores its context, still runs. When the old
// fn ends, its successor can still be joined.
func TestAbandonedFlightKeepsItsSuccessor(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		releaseOld, releaseNew := make(chan struct{}), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		old := startContext(ctx, g, "k", withCtx(after(releaseOld, 1)))
		synctest.Wait()
		cancel()
		synctest.Wait()
		old.want(t, "DoContext that left", 0, context.Canceled, false)
		wantStats(t, g, singleflight.Stats{Executions: 1, Left: 1, Running: 1})

		var fnCtx context.Context
		young := startContext(t.Context(), g, "k", func(ctx context.Context) (int, error) {
			fnCtx = ctx
			return after(releaseNew, 2)()
		})
		synctest.Wait()
		if fnCtx == nil || fnCtx.Err() != nil {
			t.Fatalf("the next DoContext called fn with context %v, want one that is not done", fnCtx)
		}
		wantStats(t, g, singleflight.Stats{Executions: 2, Left: 1, InFlight: 1, Running: 2})

		close(releaseOld)
		synctest.Wait()
		wantStats(t, g, singleflight.Stats{Executions: 2, Left: 1, InFlight: 1, Running: 1})
		joiner := startContext(t.Context(), g, "k", nil)
		synctest.Wait()
		close(releaseNew)
		synctest.Wait()
		young.want(t, "DoContext after abandonment", 2, nil, true)
		joiner.want(t, "DoContext joining it", 2, nil, true)
		idle(t, g)
	})
}

// Callers that cannot leave.

// Callers of Do and DoChan, and of DoContext and Fill with a context that can
// never be done, keep a flight alive, whether they start it or join it as
// second or third.
func TestCallersThatCannotLeaveKeepTheFlightAlive(t *testing.T) {
	type load = func(context.Context) (int, error)
	plain := func(fn load) func() (int, error) {
		return func() (int, error) { return fn(context.Background()) }
	}
	kinds := map[string]func(g group[string, int], fn load) *caller[int]{
		"Do": func(g group[string, int], fn load) *caller[int] {
			return startDo(g, "k", plain(fn))
		},
		"DoChan": func(g group[string, int], fn load) *caller[int] {
			return receive(g.DoChan("k", plain(fn)))
		},
		"DoContext(Background)": func(g group[string, int], fn load) *caller[int] {
			return startContext(context.Background(), g, "k", fn)
		},
		"Fill(Background)": func(g group[string, int], fn load) *caller[int] {
			return startFill(context.Background(), g, nothing[string, int]{}, "k", fn)
		},
	}
	for name, enter := range kinds {
		for position := range 3 {
			t.Run(fmt.Sprintf("%s/%d", name, position), func(t *testing.T) {
				bubble(t, func(t *testing.T, g group[string, int]) {
					ctx, cancel := context.WithCancel(t.Context())
					release := make(chan struct{})
					var fnCtx context.Context
					fn := func(ctx context.Context) (int, error) { fnCtx = ctx; <-release; return 42, ctx.Err() }
					var stayer *caller[int]
					var leavers []*caller[int]
					for i := range 3 {
						if i == position {
							stayer = enter(g, fn)
						} else {
							leavers = append(leavers, startContext(ctx, g, "k", fn))
						}
						synctest.Wait()
					}
					cancel()
					synctest.Wait()
					for _, c := range leavers {
						c.want(t, "DoContext", 0, context.Canceled, false)
					}
					stayer.waiting(t, name)
					if fnCtx.Err() != nil {
						t.Errorf("while a caller of %s waits, Err of fn's context = %v, want nil", name, fnCtx.Err())
					}
					wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 2, Left: 2, InFlight: 1, Running: 1})
					close(release)
					synctest.Wait()
					stayer.want(t, name, 42, nil, false)
					idle(t, g)
				})
			})
		}
	}
}

// A flight that waits for itself.

// A flight that waits for itself does not end by itself, whatever method it
// waits by. A time limit inside fn bounds it.
func TestTimeLimitInsideFnEndsAFlightThatWaitsForItself(t *testing.T) {
	const limit = time.Minute
	inside := map[string]func(ctx context.Context, g group[string, int]) (int, error){
		"DoContext": func(ctx context.Context, g group[string, int]) (int, error) {
			v, err, _ := g.DoContext(ctx, "k", nil)
			return v, err
		},
		"DoChan": func(ctx context.Context, g group[string, int]) (int, error) {
			select {
			case r := <-g.DoChan("k", nil):
				return r.Val, r.Err
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		},
		"Fill": func(ctx context.Context, g group[string, int]) (int, error) {
			v, err, _ := g.Fill(ctx, newCache[string, int](), "k", nil)
			return v, err
		},
	}
	for name, again := range inside {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g group[string, int]) {
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				outer := startContext(ctx, g, "k", func(ctx context.Context) (int, error) {
					ctx, cancel := context.WithTimeout(ctx, limit)
					defer cancel()
					return again(ctx, g)
				})
				synctest.Wait()
				stays := startDo(g, "k", nil)
				time.Sleep(limit - time.Nanosecond)
				synctest.Wait()
				outer.want(t, "DoContext that left", 0, context.DeadlineExceeded, false)
				stays.waiting(t, "Do of a flight that waits for itself")
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				stays.want(t, "Do", 0, context.DeadlineExceeded, name == "DoChan")
				if time.Since(began) != limit {
					t.Errorf("Do returned after %v, want %v", time.Since(began), limit)
				}
				idle(t, g)
			})
		})
	}
}

// The cost of waiting.

func TestWaitingCostsNoGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		const waiters = 10_000
		before := runtime.NumGoroutine()
		ctx, cancel := context.WithCancel(t.Context())
		for range waiters {
			go func() {
				if _, err, _ := g.DoContext(ctx, "k", untilDone); err != context.Canceled {
					t.Errorf("DoContext: got error %v, want %v", err, context.Canceled)
				}
			}()
		}
		synctest.Wait()
		// One more goroutine runs fn.
		if n := runtime.NumGoroutine() - before; n > waiters+1 {
			t.Errorf("%d callers of DoContext: got %d goroutines, want at most %d", waiters, n, waiters+1)
		}
		cancel()
		synctest.Wait()
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: waiters - 1, Left: waiters})
	})
}

// Callers that come and leave while a flight hangs leave nothing behind.
// Since that could be memory of any kind, the test measures the heap: it may
// not grow by a byte a caller.
func TestLeavingLeavesNothingBehind(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		release := make(chan struct{})
		hung := g.DoChan("k", after(release, 1))
		const n = 100_000
		visit := func(times int) {
			for range times {
				ctx := &leavingContext{done: make(chan struct{})}
				if _, err, _ := g.DoContext(ctx, "k", nil); err != context.Canceled {
					t.Fatalf("DoContext: got error %v, want %v", err, context.Canceled)
				}
			}
		}
		visit(1000)
		before := heap()
		visit(n)
		if grown := heap() - before; grown > 64<<10 {
			t.Errorf("%d callers came and left: the heap has grown by %d bytes, want at most %d", n, grown, 64<<10)
		}
		if s := g.Stats(); s.Left != n+1000 || s.InFlight != 1 {
			t.Errorf("Stats() = %+v, want Left %d, InFlight 1", s, n+1000)
		}
		close(release)
		<-hung
	})
}

// Races, in real time.

func TestKeyIsFreeWhenTheLastCallerReturns(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		for i := range pick(2000, 200) {
			ctx, cancel := context.WithCancel(t.Context())
			_, err, _ := g.DoContext(ctx, "k", func(ctx context.Context) (int, error) {
				cancel()
				<-ctx.Done()
				runtime.Gosched()
				return 0, ctx.Err()
			})
			if err != context.Canceled {
				t.Fatalf("DoContext: got error %v, want %v", err, context.Canceled)
			}
			if v, err, _ := g.DoContext(t.Context(), "k", withCtx(value(i))); v != i || err != nil {
				t.Fatalf("DoContext after abandonment = %v, %v, want %v, nil", v, err, i)
			}
		}
		waitIdle(t, g)
	})
}

// A caller whose context is done, and that finds the flight ended when it
// wants to leave, gets the result. With one P, fn can cancel that caller and
// return before the caller runs, unless it is preempted, which is rare.
func TestFinishedResultWinsOverDoneContext(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	bubble(t, func(t *testing.T, g group[string, int]) {
		won := 0
		for i := range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			release := make(chan struct{})
			startDo(g, "k", func() (int, error) { <-release; cancel(); return i, nil })
			synctest.Wait()
			joined := startContext(ctx, g, "k", nil)
			synctest.Wait() // until it waits for both
			close(release)
			synctest.Wait()
			if joined.err == nil {
				joined.want(t, "DoContext", i, nil, true)
				won++
			}
		}
		if won < 90 {
			t.Errorf("DoContext returned the result %d times of 100, want at least 90", won)
		}
	})
}

// A cancellation and the end of the flight come at about the same time. Each
// caller has the result, or has left and is counted.
func TestResultAndCancellationRace(t *testing.T) {
	both(t, func(t *testing.T, g group[int, int]) {
		var left uint64
		for i := range pick(20000, 2000) {
			ctx, cancel := context.WithCancel(t.Context())
			started := make(chan struct{})
			go func() { <-started; cancel() }()
			v, err, _ := g.DoContext(ctx, i, func(context.Context) (int, error) {
				close(started)
				for range i % 8 {
					runtime.Gosched()
				}
				return i, nil
			})
			switch {
			case err == nil && v == i:
			case err == context.Canceled && v == 0:
				left++
			default:
				t.Fatalf("DoContext = %v, %v, want %v, nil, or 0, %v", v, err, i, context.Canceled)
			}
		}
		if s := g.Stats(); s.Left != left {
			t.Errorf("Stats().Left = %d, want %d, as many calls as returned ctx.Err()", s.Left, left)
		}
		waitIdle(t, g)
	})
}

// Some callers cancel at random while others stay. Those that stay always get a
// value, and fn does not see its context done while one of them waits.
func TestLiveCallerNeverSeesAnothersCancellation(t *testing.T) {
	both(t, func(t *testing.T, g group[int, int]) {
		const keys = 3
		fn := func(key int) func(context.Context) (int, error) {
			return func(ctx context.Context) (int, error) {
				for range rand.IntN(20) {
					runtime.Gosched()
					if ctx.Err() != nil {
						return -1, ctx.Err()
					}
				}
				return key, nil
			}
		}
		var wg sync.WaitGroup
		for range 8 { // callers that cancel
			wg.Go(func() {
				for i := range pick(3000, 300) {
					ctx, cancel := context.WithCancel(t.Context())
					n := rand.IntN(30)
					go func() {
						for range n {
							runtime.Gosched()
						}
						cancel()
					}()
					v, err, _ := g.DoContext(ctx, i%keys, fn(i%keys))
					if (err != nil || v != i%keys) && (err != context.Canceled || ctx.Err() == nil) {
						t.Errorf("DoContext(%d) of a caller that may cancel = %v, %v, want %d, nil, or ctx.Err() = %v", i%keys, v, err, i%keys, ctx.Err())
					}
					cancel()
				}
			})
		}
		for j := range 6 { // callers that stay
			wg.Go(func() {
				ctx := t.Context()
				if j == 0 {
					ctx = context.Background()
				}
				for i := range pick(3000, 300) {
					key := i % keys
					var v int
					var err error
					switch j {
					case 1:
						v, err, _ = g.Do(key, value(key))
					case 2:
						r := <-g.DoChan(key, value(key))
						v, err = r.Val, r.Err
					default:
						v, err, _ = g.DoContext(ctx, key, fn(key))
					}
					if v != key || err != nil {
						t.Errorf("call for key %d of a caller that stays = %v, %v, want %d, nil", key, v, err, key)
					}
				}
			})
		}
		wg.Wait()
		waitIdle(t, g)
	})
}
