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

// Waiting.

func TestDoContextReturnsWhatFnReturns(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		errBroken := errors.New("broken")
		fail := func(context.Context) (int, error) { return 42, errBroken }
		for name, ctx := range map[string]context.Context{"cancelable": t.Context(), "Background": context.Background()} {
			if v, err, shared := g.DoContext(ctx, "k", fail); v != 42 || err != errBroken || shared {
				t.Errorf("DoContext(%s) = %v, %v, %v, want 42, %v, false", name, v, err, shared, errBroken)
			}
		}
		wantStats(t, g, singleflight.Stats{Executions: 2})
	})
}

// A caller returns as soon as its own context is done, the one that started
// the flight as well as one that joined, and the other stays.
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
					return deaf(release, 42)(ctx)
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
					t.Errorf("fn's context: %v while a caller waits, want nil", err)
				}
				wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 1, Left: 1, InFlight: 1, Running: 1})
				close(release)
				synctest.Wait()
				stayer.want(t, "DoContext that stayed", 42, nil, false) // the other left before it ended
				idle(t, g)
			})
		})
	}
}

func TestContextDoneOnEntryStartsAndJoinsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		// The error is ctx.Err(), and not the cause.
		canceled, because := context.WithCancelCause(t.Context())
		because(errBroken)
		expired, cancel := context.WithTimeout(t.Context(), -1)
		defer cancel()
		fn := func(context.Context) (int, error) { t.Error("fn was called"); return 1, nil }
		check := func() {
			t.Helper()
			if v, err, shared := g.DoContext(canceled, "k", fn); v != 0 || err != context.Canceled || shared {
				t.Errorf("DoContext = %v, %v, %v, want 0, %v, false", v, err, shared, context.Canceled)
			}
			if v, err, shared := g.DoContext(expired, "k", fn); v != 0 || err != context.DeadlineExceeded || shared {
				t.Errorf("DoContext = %v, %v, %v, want 0, %v, false", v, err, shared, context.DeadlineExceeded)
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

// A caller that has seen its ctx done, and finds when it gets to the mutex
// that the flight has ended, gets the result. With one P, fn cancels that
// caller and returns before it runs; a rare preemption may let it leave first.
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
			synctest.Wait() // it waits for both
			close(release)
			synctest.Wait()
			if joined.err == nil {
				joined.want(t, "DoContext", i, nil, true)
				won++
			}
		}
		if won < 90 {
			t.Errorf("the result won %d times of 100, want 100", won)
		}
	})
}

// Where fn wraps its errors, a caller can tell by == that it has left, and that
// it has not even though fn ran out of time.
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
			t.Errorf("DoContext of a caller that has left: %v, want %v", err, ctx.Err())
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err, _ := g.DoContext(ctx, "k", fn); !errors.Is(err, context.DeadlineExceeded) || err == ctx.Err() {
			t.Errorf("DoContext whose fn ran out of time: %v, with ctx.Err() %v", err, ctx.Err())
		}
		time.Sleep(time.Minute)
	})
}

// A Context whose Err is still nil when it is done breaks its contract. A nil
// error would say that the zero value is a result.
func TestCallerThatLeavesNeverGetsANilError(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		ctx := doneWithoutErr{t.Context()}
		release := make(chan struct{})
		for name, c := range map[string]*caller[int]{
			"DoContext": startContext(ctx, g, "a", deaf(release, 1)),
			"Fill":      startFill(ctx, g, newCache[string, int](), "b", deaf(release, 1)),
		} {
			synctest.Wait()
			c.want(t, name, 0, context.Canceled, false)
		}
		close(release)
	})
}

type doneWithoutErr struct{ context.Context }

func (doneWithoutErr) Err() error { return nil }
func (doneWithoutErr) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// Cancellation and the end of the flight race in real time: the caller has
// left, and is counted, or it has the result.
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
				t.Fatalf("DoContext = %v, %v, want %v, nil or 0, %v", v, err, i, context.Canceled)
			}
		}
		if s := g.Stats(); s.Left != left {
			t.Errorf("%d calls returned ctx.Err(), Left = %d", left, s.Left)
		}
		waitIdle(t, g)
	})
}

// fn's context.

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
			t.Errorf("fn's context has value %v, want first", v)
		}
		if d, ok := fnCtx.Deadline(); ok {
			t.Errorf("fn's context has deadline %v, want none", d)
		}
		time.Sleep(2 * time.Second) // the first caller's deadline passes
		synctest.Wait()
		a.want(t, "first DoContext", 0, context.DeadlineExceeded, false)
		close(release)
		synctest.Wait()
		b.want(t, "second DoContext", 1, nil, false) // fn's context was alive to the end
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
			t.Error("fn's context was canceled while a caller waits")
		}
		cancel2()
		synctest.Wait()
		b.want(t, "DoContext that left last", 0, context.Canceled, false)
		if fnCtx.Err() != context.Canceled {
			t.Error("fn's context was not canceled when the last caller left")
		}
		wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 1, Left: 2})
	})
}

// When a caller has the result, fn's context is done with: nobody has to
// cancel for it, and whatever was derived from it is released.
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
			t.Errorf("fn's context after DoContext: %v, want %v", ctx.Err(), context.Canceled)
		}
		if child := <-inner; child.Err() != context.Canceled {
			t.Errorf("a context derived from it: %v, want %v", child.Err(), context.Canceled)
		}

		// By the time that joiners have it, too.
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
				t.Errorf("fn's context after the result: %v, want %v", err, context.Canceled)
			}
		}
	})
	// With many to be woken, the first are awake long before the last.
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
				t.Errorf("%d of %d callers had the result before fn's context was canceled", n, joiners)
			}
		}
	})
}

// A countingContext counts what is registered with it. It has a Done channel
// of its own, so that package context cannot look through it.
type countingContext struct {
	context.Context
	done       chan struct{}
	registered atomic.Int64
}

func (c *countingContext) Done() <-chan struct{} { return c.done }

func (c *countingContext) AfterFunc(f func()) (stop func() bool) {
	c.registered.Add(1)
	return context.AfterFunc(c.Context, f)
}

// Nothing is registered with a caller's context, so nothing stays there when
// nobody ever cancels.
func TestNothingIsRegisteredWithTheCallersContext(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		ctx := &countingContext{Context: t.Context(), done: make(chan struct{})}
		_, stop := context.WithCancel(ctx)
		if ctx.registered.Swap(0) != 1 {
			t.Fatal("the test does not count")
		}
		stop()
		for range 100 {
			g.DoContext(ctx, "k", func(ctx context.Context) (int, error) {
				child, cancel := context.WithTimeout(ctx, time.Hour)
				defer cancel()
				return 1, child.Err()
			})
		}
		if n := ctx.registered.Load(); n != 0 {
			t.Errorf("%d registrations with the caller's context, want 0", n)
		}
	})
}

// Contexts derived from fn's cost no goroutine: context knows its parent.
func TestDerivingFromFnContextCostsNoGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		before := runtime.NumGoroutine()
		g.DoContext(t.Context(), "k", func(ctx context.Context) (int, error) {
			for range 100 {
				_, cancel := context.WithCancel(ctx)
				defer cancel()
			}
			synctest.Wait()
			if n := runtime.NumGoroutine(); n > before+1 {
				t.Errorf("100 contexts derived from fn's: %d goroutines, %d before the call", n, before)
			}
			return 0, nil
		})
	})
}

// Where fn runs inline it gets the caller's own context, which nobody cancels.
func TestInlineFnGetsTheCallersContext(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		ctx := context.WithValue(context.Background(), ctxKey{}, "mine")
		var fnCtx context.Context
		g.DoContext(ctx, "k", func(ctx context.Context) (int, error) { fnCtx = ctx; return 1, nil })
		if fnCtx != ctx || fnCtx.Err() != nil {
			t.Errorf("fn got %v (%v), want the caller's context, not done", fnCtx, fnCtx.Err())
		}
	})
}

// Pinning.

// Callers of Do and DoChan, and of DoContext and Fill with a context that can
// never be done, keep a flight alive, whichever of them starts it, in every
// order.
func TestWhoCannotLeavePins(t *testing.T) {
	type load = func(context.Context) (int, error)
	plain := func(fn load) func() (int, error) {
		return func() (int, error) { return fn(context.Background()) }
	}
	pins := map[string]func(g group[string, int], fn load) *caller[int]{
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
	for name, pin := range pins {
		for position := range 3 {
			t.Run(fmt.Sprintf("%s/%d", name, position), func(t *testing.T) {
				bubble(t, func(t *testing.T, g group[string, int]) {
					ctx, cancel := context.WithCancel(t.Context())
					release := make(chan struct{})
					var fnCtx context.Context
					fn := func(ctx context.Context) (int, error) { fnCtx = ctx; <-release; return 42, ctx.Err() }
					var pinned *caller[int]
					var leavers []*caller[int]
					for i := range 3 {
						if i == position {
							pinned = pin(g, fn)
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
					pinned.waiting(t, name)
					if fnCtx.Err() != nil {
						t.Errorf("fn's context: %v while a caller of %s waits, want nil", fnCtx.Err(), name)
					}
					wantStats(t, g, singleflight.Stats{Executions: 1, Joined: 2, Left: 2, InFlight: 1, Running: 1})
					close(release)
					synctest.Wait()
					pinned.want(t, name, 42, nil, false)
					idle(t, g)
				})
			})
		}
	}
}

// Leaving.

// Nobody joins a canceled flight: the next caller gets a live one at once,
// while the old fn, deaf to its context, runs on; and when that ends, late, it
// neither evicts the new entry nor reaches anyone.
func TestAbandonedFlightKeepsItsSuccessor(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		releaseOld, releaseNew := make(chan struct{}), make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		old := startContext(ctx, g, "k", deaf(releaseOld, 1))
		synctest.Wait()
		cancel()
		synctest.Wait()
		old.want(t, "DoContext that left", 0, context.Canceled, false)
		wantStats(t, g, singleflight.Stats{Executions: 1, Left: 1, Running: 1})

		var fnCtx context.Context
		young := startContext(t.Context(), g, "k", func(ctx context.Context) (int, error) {
			fnCtx = ctx
			return deaf(releaseNew, 2)(ctx)
		})
		synctest.Wait()
		if fnCtx == nil || fnCtx.Err() != nil {
			t.Fatalf("the next caller's fn was not started, or with a context that is done")
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

// The key is free when the call that left last returns, and not a moment later.
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
				t.Fatalf("DoContext = %v, want %v", err, context.Canceled)
			}
			if v, err, _ := g.DoContext(t.Context(), "k", withCtx(value(i))); v != i || err != nil {
				t.Fatalf("DoContext after abandonment = %v, %v, want %v, nil", v, err, i)
			}
		}
		waitIdle(t, g)
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
		young := startContext(t.Context(), g, "k", deaf(release, 2))
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

// A live caller never sees another's cancellation: some cancel at random
// while others join, those who stay always get a value, and fn never sees its
// context done while one of them waits.
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
		for range 8 { // they cancel
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
						t.Errorf("DoContext(%d) = %v, %v, with ctx.Err() %v", i%keys, v, err, ctx.Err())
					}
					cancel()
				}
			})
		}
		for j := range 6 { // they stay
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
						t.Errorf("a live call for %d got %v, %v", key, v, err)
					}
				}
			})
		}
		wg.Wait()
		waitIdle(t, g)
	})
}

// Cost of waiting.

func TestWaitingCostsNoGoroutine(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		const waiters = 10_000
		before := runtime.NumGoroutine()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range waiters {
			wg.Go(func() {
				if _, err, _ := g.DoContext(ctx, "k", untilDone); err != context.Canceled {
					t.Errorf("DoContext: %v, want %v", err, context.Canceled)
				}
			})
		}
		for g.Stats().Joined < waiters-1 {
			runtime.Gosched()
		}
		// theirs, and the one that runs fn
		if n := runtime.NumGoroutine() - before; n > waiters+1 {
			t.Errorf("%d waiters: %d goroutines beyond their own, want 0", waiters, n-waiters-1)
		}
		cancel()
		wg.Wait()
		waitIdle(t, g)
		for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
			runtime.Gosched()
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d goroutines after all left, %d before", n, before)
		}
		if s := g.Stats(); s.Left != waiters {
			t.Errorf("Left = %d, want %d", s.Left, waiters)
		}
	})
}

// Callers who come and leave while a flight hangs leave nothing behind.
func TestLeavingLeavesNothingBehind(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		release := make(chan struct{})
		hung := receive(g.DoChan("k", after(release, 1)))
		n := pick(1_000_000, 100_000)
		visit := func(times int) {
			for range times {
				ctx := &leavingContext{done: make(chan struct{})}
				if _, err, _ := g.DoContext(ctx, "k", nil); err != context.Canceled {
					t.Fatalf("DoContext: %v, want %v", err, context.Canceled)
				}
			}
		}
		visit(1000)
		before := heap()
		visit(n)
		if grown := heap() - before; grown > 64<<10 {
			t.Errorf("%d callers came and left: %d bytes left behind", n, grown)
		}
		if s := g.Stats(); s.Left != uint64(n)+1000 || s.InFlight != 1 {
			t.Errorf("Stats() = %+v, want Left %d, InFlight 1", s, n+1000)
		}
		close(release)
		waitIdle(t, g)
		_ = hung
	})
}

// A leavingContext is done as soon as DoContext waits on it: not when it is
// made and asked for Err the first time, so that the call joins.
type leavingContext struct {
	context.Context
	done  chan struct{}
	asked bool
}

func (c *leavingContext) Value(any) any { return nil }
func (c *leavingContext) Err() error {
	if !c.asked {
		c.asked = true
		return nil
	}
	return context.Canceled
}
func (c *leavingContext) Done() <-chan struct{} { close(c.done); return c.done }

// Nesting.

// A call within fn for another flight keeps that one alive like any caller,
// also where both have a common ancestor.
func TestNestedCallKeepsAnotherFlightAlive(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		release := make(chan struct{})
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		other := startContext(short, g, "B", deaf(release, 42))
		synctest.Wait()
		nested := func(ctx context.Context) (int, error) { v, err, _ := g.DoContext(ctx, "B", nil); return v, err }
		a := startContext(t.Context(), g, "A", func(ctx context.Context) (int, error) {
			v, err, _ := g.DoContext(ctx, "C", nested) // A waits for C, and C for B
			return v, err
		})
		b := startContext(t.Context(), g, "A2", nested)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		other.want(t, "DoContext that left B", 0, context.DeadlineExceeded, false)
		wantStats(t, g, singleflight.Stats{Executions: 4, Joined: 2, Left: 1, InFlight: 4, Running: 4})
		close(release)
		synctest.Wait()
		a.want(t, "DoContext(A)", 42, nil, false)
		b.want(t, "DoContext(A2)", 42, nil, false)
		idle(t, g)
	})
}

// A fn may start another flight in the background, under its own context, and
// not wait for it. If that flight joins the first, it keeps it alive like any
// caller, and the callers of that flight get the value.
func TestPrefetchKeepsTheFlightItJoinsAlive(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		release, goB := make(chan struct{}), make(chan struct{})
		loadB := func(ctx context.Context) (int, error) {
			<-goB
			v, err, _ := g.DoContext(ctx, "A", nil)
			return v, err
		}
		ctx, cancel := context.WithCancel(t.Context())
		a := startContext(ctx, g, "A", func(ctx context.Context) (int, error) {
			startContext(ctx, g, "B", loadB)
			<-release
			return 42, ctx.Err()
		})
		synctest.Wait()
		somebody := startContext(t.Context(), g, "B", nil)
		synctest.Wait()
		close(goB) // B joins A
		synctest.Wait()
		cancel()
		synctest.Wait()
		a.want(t, "DoContext(A), left", 0, context.Canceled, false)
		close(release)
		synctest.Wait()
		// The prefetch may or may not have left: its context ends with A.
		somebody.want(t, "DoContext(B)", 42, nil, somebody.shared)
		idle(t, g)
	})
}

// A flight that waits for itself never ends by itself, whatever the methods.
// A time limit inside fn bounds it.
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
				outer.want(t, "DoContext, left", 0, context.DeadlineExceeded, false)
				stays.waiting(t, "Do of a flight that waits for itself")
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if stays.want(t, "Do", 0, context.DeadlineExceeded, name == "DoChan"); time.Since(began) != limit {
					t.Errorf("the flight ended after %v, want %v", time.Since(began), limit)
				}
				idle(t, g)
			})
		})
	}
}

// Misuse.

func TestNilContextPanics(t *testing.T) {
	both(t, func(t *testing.T, g group[string, int]) {
		v := mustPanic(t, "DoContext(nil)", func() {
			g.DoContext(nil, "k", withCtx(value(1))) //lint:ignore SA1012 that is what is tested
		})
		cache := newSpy[string, int]()
		w := mustPanic(t, "Fill(nil)", func() {
			g.Fill(nil, cache, "k", withCtx(value(1))) //lint:ignore SA1012 that is what is tested
		})
		if w != v || cache.gets.Load() != 0 {
			t.Errorf("Fill(nil) panicked with %v after %d Gets, want %v after none", w, cache.gets.Load(), v)
		}
		if v != "singleflight: nil Context" {
			t.Errorf("DoContext(nil) panicked with %v, want a word about the context", v)
		}
		wantStats(t, g, singleflight.Stats{})
		g.Do("k", value(1))
		idle(t, g)
	})
}
