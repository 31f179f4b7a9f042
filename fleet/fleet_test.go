// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight"
	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/enginetest"
	"example.com/singleflight/fleet/internal/fleettest"
)

func TestNewRefusesWhatCannotWork(t *testing.T) {
	store := enginetest.NewFake(enginetest.FakeOptions{MaxTTL: 30 * time.Second})
	defer store.Close()
	e := store.Connect()
	for _, tt := range []struct {
		opts []fleet.Option
		want string
	}{
		{[]fleet.Option{fleet.Lease(0)}, "fleet: Lease(0s): want at least a second"},
		{[]fleet.Option{fleet.Lease(-time.Second)}, "fleet: Lease(-1s): want at least a second"},
		{[]fleet.Option{fleet.Linger(time.Millisecond)}, "fleet: Linger(1ms): want at least a second"},
		{[]fleet.Option{fleet.EngineTimeout(0)}, "fleet: EngineTimeout(0s): want more than 0"},
		{[]fleet.Option{fleet.Encoding(nil)}, "fleet: Encoding(nil)"},
		{[]fleet.Option{fleet.Lease(12500 * time.Millisecond)}, "fleet: the fake engine: Lease(12.5s): want a multiple of 1s"},
		{[]fleet.Option{fleet.Linger(1500 * time.Millisecond)}, "fleet: the fake engine: Linger(1.5s): want a multiple of 1s"},
		{[]fleet.Option{fleet.EngineTimeout(3 * time.Second)}, "fleet: the fake engine: EngineTimeout(3s) with Lease(10s): want at most"},
		{[]fleet.Option{fleet.Lease(4 * time.Second)}, "fleet: the fake engine: EngineTimeout(2s) with Lease(4s): want at most"},
		{[]fleet.Option{fleet.Lease(31 * time.Second)}, "fleet: the fake engine: it keeps nothing for longer than 30s"},
		{[]fleet.Option{fleet.Linger(31 * time.Second)}, "fleet: the fake engine: it keeps nothing for longer than 30s"},
	} {
		g, err := fleet.New[string](e, tt.opts...)
		if g != nil || err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("New: %v, want %s", err, tt.want)
		}
	}
	if _, err := fleet.New[string](nil); err == nil {
		t.Error("New(nil): no error")
	}
	if _, err := fleet.New[string](e, fleet.Lease(30*time.Second), fleet.Linger(30*time.Second)); err != nil {
		t.Errorf("New with the longest that the engine keeps: %v", err)
	}
}

func TestOneLoadInTheFleet(t *testing.T) {
	inFleet(t, 8, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		calls := []*fleettest.Call{l.Call}
		for _, n := range n {
			calls = append(calls, n.start(t, "k", fleettest.Never))
		}
		wantWatches(t, store, 8)
		l.give("v")
		for i, c := range calls {
			if got, want := c.Wait(t), (fleettest.Answer{V: "v", Shared: i < 2}); got != want {
				t.Errorf("caller %d got %+v, want %+v", i, got, want)
			}
		}
		wantStats(t, "loading", n[0], fleet.Stats{Loads: 1})
		for _, n := range n[1:] {
			wantStats(t, "waiting", n, fleet.Stats{Received: 1})
		}
	})
}

// A call that begins after the load has ended gets a newer one, in every
// process, although the result is still stored for those that waited.
func TestFreshAfterReturn(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		for i := range 6 {
			v := fmt.Sprint(i)
			wantGot(t, fmt.Sprint("call ", i), n[i/2%2].call(t, "k", v), v)
		}
		if r := store.Records(); r != 1 {
			t.Errorf("%d records, want the last result: the test tests nothing", r)
		}
	}, fleet.Linger(time.Hour))
}

// However many callers a process has for a key, it asks the engine once for
// all of them.
func TestManyCallersCostTheEngineOneClaim(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		calls := []*fleettest.Call{l.Call}
		for range 100 {
			calls = append(calls, n[0].start(t, "k", fleettest.Never), n[1].start(t, "k", fleettest.Never))
		}
		settle()
		calls = append(calls, n[0].start(t, "k", fleettest.Never), n[1].start(t, "k", fleettest.Never)) // late callers
		settle()
		l.give("v")
		for _, c := range calls {
			c.Want(t, "a caller", "v")
		}
		for i, want := range [][3]int64{{2, 0, 1}, {1, 1, 1}} {
			a := n[i].asked
			if got := [3]int64{a.writes.Load(), a.reads.Load(), a.watches.Load()}; got != want {
				t.Errorf("process %d: %d writes, reads, watches, want %d", i, got, want)
			}
		}
	})
}

// Failure.

func TestErrorReachesEveryProcess(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		there := n[1].start(t, "k", fleettest.Never)
		settle()
		errBroken := errors.New("broken")
		l.end <- func() (string, error) { return "partial", errBroken }
		if r := l.Wait(t); r.V != "partial" || r.Err != errBroken {
			t.Errorf("where fn ran: %+v, want partial, %v", r, errBroken)
		}
		r := there.Wait(t)
		if remote, ok := errors.AsType[*fleet.RemoteError](r.Err); !ok || remote.Message != "broken" || r.V != "" {
			t.Errorf("elsewhere: %+v, want a RemoteError: broken", r)
		}
		if got, want := r.Err.Error(), "loading in another process: broken"; got != want {
			t.Errorf("the RemoteError says %q, want %q", got, want)
		}
		wantStats(t, "elsewhere", n[1], fleet.Stats{Received: 1})
		wantGot(t, "the next call", n[1].call(t, "k", "v"), "v") // it is not remembered
	})
}

// An error's text may be of any length, and its Error method may panic.
func TestOddErrorReachesEveryProcess(t *testing.T) {
	for text, err := range map[string]error{
		strings.Repeat("x", 8<<10):      errors.New(strings.Repeat("x", 10<<20)),
		"%!v(PANIC=Error method: oops)": panickyError{},
	} {
		inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
			l := n[0].begin(t, "k")
			there := n[1].start(t, "k", fleettest.Never)
			settle()
			l.end <- func() (string, error) { return "", err }
			if r := l.Wait(t); r.Err != err {
				t.Errorf("where fn ran: %.100v, want the same error", r)
			}
			r := there.Wait(t)
			if remote, ok := errors.AsType[*fleet.RemoteError](r.Err); !ok || remote.Message != text {
				t.Errorf("elsewhere: %.100v, want a RemoteError: %.100s", r, text)
			}
		})
	}
}

type panickyError struct{}

func (panickyError) Error() string { panic("oops") }

func explode() (string, error) { panic("boom") }

// A panic is raised where fn ran, as in a singleflight.Group, and is an error
// elsewhere: other processes do not take over and die in turn.
func TestPanicStaysInItsProcess(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		joined := n[0].start(t, "k", fleettest.Never)
		there := n[1].start(t, "k", fleettest.Never)
		settle()
		l.end <- explode
		for _, c := range []*fleettest.Call{l.Call, joined} {
			r := c.Wait(t)
			p, ok := r.Panic.(*singleflight.PanicError)
			if !ok || p.Value != "boom" || !strings.Contains(string(p.Stack), "explode") {
				t.Errorf("where fn ran: %+v, want a PanicError: boom, with the stack of fn", r)
			}
		}
		r := there.Wait(t)
		if remote, ok := errors.AsType[*fleet.RemoteError](r.Err); !ok || remote.Message != "panic: boom" {
			t.Errorf("elsewhere: %+v, want a RemoteError: panic: boom", r)
		}
	})
}

func TestGoexitStaysInItsProcess(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		there := n[1].start(t, "k", fleettest.Never)
		settle()
		l.end <- func() (string, error) { runtime.Goexit(); return "", nil }
		if r := l.Wait(t); !r.Exited {
			t.Errorf("where fn ran: %+v, want the caller's goroutine to exit", r)
		}
		r := there.Wait(t)
		if remote, ok := errors.AsType[*fleet.RemoteError](r.Err); !ok || remote.Message != singleflight.ErrGoexit.Error() {
			t.Errorf("elsewhere: %+v, want a RemoteError: %v", r, singleflight.ErrGoexit)
		}
	})
}

func TestBadCallsPanic(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		func() {
			defer func() {
				if p := recover(); p != "singleflight: nil Context" {
					t.Errorf("nil ctx: panic %v, want singleflight: nil Context", p)
				}
			}()
			var none context.Context
			n[0].DoContext(none, "k", fleettest.Never)
		}()
		c := n[0].start(t, "k", nil)
		if r := c.Wait(t); r.Panic == nil {
			t.Errorf("nil fn: %+v, want a panic", r)
		}
	})
}

// Leaving.

// When the last caller in the loading process leaves, fn is canceled, and
// another process that waits takes over at once, long before the lease ends;
// even if fn does not heed its context.
func TestLastCallerOutHandsOver(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		t.Run(fmt.Sprintf("heeds=%v", heeds), func(t *testing.T) {
			inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
				release := make(chan struct{})
				defer close(release)
				var fnCtx context.Context
				first := n[0].start(t, "k", func(ctx context.Context) (string, error) {
					fnCtx = ctx
					if !heeds {
						<-release
					}
					<-ctx.Done()
					return "too late", nil
				})
				settle()
				second, third := n[1].ask(t, "k"), n[2].ask(t, "k")
				wantWatches(t, store, 3)
				left := time.Now()
				first.Cancel()
				first.WantErr(t, "the caller that left", context.Canceled)
				<-fnCtx.Done()
				settle()
				if second.runs() == third.runs() {
					t.Fatalf("loads in the second and third process: %v, %v, want one", second.runs(), third.runs())
				}
				wantTook(t, "taken over", left, 100*time.Millisecond) // as long as settle takes
				second.give("v")
				third.give("v")
				second.Want(t, "second", "v")
				third.Want(t, "third", "v")
				a, b := n[1].Stats(), n[2].Stats()
				if a.Takeovers+b.Takeovers != 1 || a.Loads+b.Loads != 1 {
					t.Errorf("stats %+v, %+v, want 1 takeover, 1 load", a, b)
				}
			}, fleet.Lease(time.Hour))
		})
	}
}

// A caller that waits for another process leaves without consequences there.
func TestWhoWaitsElsewhereLeavesAlone(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		first := n[0].begin(t, "k")
		second := n[1].start(t, "k", fleettest.Never)
		wantWatches(t, store, 2)
		second.Cancel()
		second.WantErr(t, "the caller that left", context.Canceled)
		wantWatches(t, store, 1)
		if first.ctx.Err() != nil {
			t.Error("fn was canceled when a caller in another process left")
		}
		first.give("v")
		first.Want(t, "first", "v")
	})
}

func TestContextDoneOnEntryDoesNothing(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err, _ := n[0].DoContext(ctx, "k", fleettest.Never); err != context.Canceled {
			t.Errorf("%v, want context canceled", err)
		}
		settle()
		if a := n[0].asked; a.writes.Load()+a.reads.Load()+a.watches.Load() != 0 {
			t.Error("the engine was asked")
		}
	})
}

// The same with a Background caller, on whose goroutine fn may run.
func TestBackgroundCaller(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		end := make(chan string)
		got := make(chan string)
		go func() {
			v, _, _ := n[0].DoContext(context.Background(), "k", func(context.Context) (string, error) { return <-end, nil })
			got <- v
		}()
		settle()
		there := n[1].start(t, "k", fleettest.Never)
		settle()
		end <- "v"
		wantGot(t, "the caller with Background", <-got, "v")
		there.Want(t, "elsewhere", "v")
	})
}

// fn's context has the values of the first caller's, and no deadline.
func TestFnContextHasTheFirstCallersValues(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		type k struct{}
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), k{}, "mine"), time.Minute)
		defer cancel()
		n[0].DoContext(ctx, "k", func(ctx context.Context) (string, error) {
			if v := ctx.Value(k{}); v != "mine" {
				t.Errorf("value %v, want mine", v)
			}
			if d, ok := ctx.Deadline(); ok {
				t.Errorf("deadline %v, want none", d)
			}
			return "", nil
		})
	})
}

// An fn that calls DoContext for its own key waits for itself until a timeout
// inside fn ends that, as in a Group.
func TestTimeLimitInsideFnEndsAFlightThatWaitsForItself(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		c := n[0].start(t, "k", func(ctx context.Context) (string, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			v, err, _ := n[0].DoContext(ctx, "k", fleettest.Never)
			return v, err
		})
		c.WantErr(t, "the caller", context.DeadlineExceeded)
		if s := n[0].Stats(); s.Callers.Joined != 1 {
			t.Errorf("%d calls joined, want the inner one", s.Callers.Joined)
		}
		settle()
		if s := n[0].Stats(); s.Running != 0 || s.Callers.Running != 0 {
			t.Errorf("stats %+v, want nothing running", s)
		}
	})
}

// The lease.

func TestLoadOutlastsTheLease(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		there := n[1].start(t, "k", fleettest.Never)
		time.Sleep(4*lease - time.Second)
		if l.ctx.Err() != nil {
			t.Error("fn was canceled")
		}
		l.give("v")
		l.Want(t, "where fn ran", "v")
		there.Want(t, "elsewhere", "v")
		if got := n[0].asked.writes.Load(); got != 9 {
			t.Errorf("%d writes, want the claim, 7 renewals, one each half lease, and the result", got)
		}
		if got := n[0].asked.watches.Load(); got != 1 {
			t.Errorf("%d watches, want 1", got)
		}
	})
}

// A process that vanishes is replaced within the lease plus one second.
func TestDeadHolderIsReplaced(t *testing.T) {
	for name, line := range broken {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
				dead := n[0].begin(t, "k")
				second, third := n[1].ask(t, "k"), n[2].ask(t, "k")
				time.Sleep(lease/2 - time.Second) // it has not renewed its lease yet
				n[0].line.SetLine(line)
				time.Sleep(lease/2 + 900*time.Millisecond)
				if second.runs() || third.runs() {
					t.Error("taken over before the lease ended")
				}
				time.Sleep(1100 * time.Millisecond)
				if second.runs() == third.runs() {
					t.Fatalf("loads in the second and third process: %v, %v, want one", second.runs(), third.runs())
				}
				dead.Cancel()
				time.Sleep(2 * lease) // it keeps the key
				second.give("v")
				third.give("v")
				second.Want(t, "second", "v")
				third.Want(t, "third", "v")
				if a, b := n[1].Stats(), n[2].Stats(); a.Loads+b.Loads != 1 {
					t.Errorf("%d loads, want 1", a.Loads+b.Loads)
				}
			})
		})
	}
}

// A holder that is cut off for longer than its lease loses the key. When it
// is back its context is canceled, and its callers get the newer value,
// whether it is there already or still being loaded.
func TestHolderThatLostItsLeaseGivesTheNewerValue(t *testing.T) {
	for name, line := range broken {
		for _, over := range []bool{false, true} {
			for _, heeds := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/over=%v/heeds=%v", name, over, heeds), func(t *testing.T) {
					inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
						release := make(chan struct{})
						defer close(release)
						var fnCtx context.Context
						old := n[0].start(t, "k", func(ctx context.Context) (string, error) {
							fnCtx = ctx
							if !heeds {
								<-release
							}
							<-ctx.Done()
							return "", ctx.Err()
						})
						settle()
						newer := n[1].ask(t, "k")
						settle()
						n[0].line.SetLine(line)
						newer.awaitFn(t) // it has taken over
						if over {
							newer.give("newer")
							newer.Want(t, "where it was taken over", "newer")
						}
						if fnCtx.Err() != nil {
							t.Error("fn was canceled before the news can have come")
						}
						n[0].line.SetLine(good)
						<-fnCtx.Done()
						if !over {
							newer.give("newer")
							newer.Want(t, "where it was taken over", "newer")
						}
						old.Want(t, "where the lease was lost", "newer")
						wantStats(t, "where it was taken over", n[1], fleet.Stats{Loads: 1, Takeovers: 1})
						if s := n[0].Stats(); s.Received != 1 || s.Loads != 1 {
							t.Errorf("where the lease was lost: stats %+v, want 1 received, 1 load", s)
						}
					}, fleet.Linger(time.Hour))
				})
			}
		}
	}
}

// The same, and the engine fails while the holder waits for the newer value. It
// loads for its callers, and that load is not taken for the one that has lost
// its lease.
func TestHolderThatLostItsLeaseAndTheEngine(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := fleettest.NewLoader()
		old := n[0].start(t, "k", l.Fn)
		first := l.Running(t)
		store.StepClock(time.Hour) // its lease has ended
		newer := n[1].begin(t, "k")
		<-first.Done()
		settle()
		n[0].line.SetLine(cut)
		second := l.Running(t)
		n[0].line.SetLine(good)
		time.Sleep(2 * lease)
		if second.Err() != nil {
			t.Error("the load without the engine was canceled")
		}
		l.Give("alone")
		old.Want(t, "where the lease was lost", "alone")
		newer.give("newer")
		newer.Want(t, "where it was taken over", "newer")
	})
}

// A holder that has lost its lease waits for a load that is then given up, and is
// about to claim the key again when yet another load has a result. It takes that.
func TestHolderThatLostItsLeaseTakesTheNextResult(t *testing.T) {
	inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
		old := n[0].begin(t, "k")
		store.StepClock(time.Hour) // its lease has ended
		second := n[1].begin(t, "k")
		<-old.ctx.Done()
		settle()
		n[0].asked.before = func(engine.Name) {
			n[0].asked.before = nil
			n[2].call(t, "k", "third")
		}
		second.Cancel()
		old.Want(t, "where the lease was lost", "third")
		wantStats(t, "where the lease was lost", n[0], fleet.Stats{Loads: 1, Received: 1})
	}, fleet.Linger(time.Hour))
}

// A server that is rolled back shows the holder an old result in place of its
// claim. That is older than the holder's callers, who do not get it.
func TestHolderIsRolledBack(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		wantGot(t, "the first call", n[0].call(t, "k", "old"), "old")
		then := store.Save()
		l := fleettest.NewLoader()
		c := n[0].start(t, "k", l.Fn)
		first := l.Running(t)
		store.Stop()
		store.Restore(then)
		store.Start()
		<-first.Done()
		l.Running(t)
		l.Give("new")
		c.Want(t, "a call after the old result", "new")
	}, fleet.Linger(time.Hour))
}

// The write of a holder that has lost its lease is rejected, even if it is the
// first request after the loss.
func TestLateWriteIsRejected(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		old := n[0].begin(t, "k")
		newer := n[1].ask(t, "k")
		settle()
		n[0].line.SetLine(silent)
		newer.awaitFn(t)
		old.give("old") // fn has ended before the loss is known
		time.Sleep(10 * time.Millisecond)
		n[0].line.SetLine(good)
		newer.give("newer")
		newer.Want(t, "where it was taken over", "newer")
		old.Want(t, "where the lease was lost", "newer")
	}, fleet.Linger(time.Hour))
}

// If no other process took over meanwhile, the value is still used.
func TestHolderWhoseLeaseRanOutUnnoticed(t *testing.T) {
	for name, line := range broken {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
				l := n[0].begin(t, "k")
				n[0].line.SetLine(line)
				time.Sleep(2 * lease)
				if r := store.Records(); r != 0 {
					t.Fatalf("%d records, want the lease to have ended", r)
				}
				n[0].line.SetLine(good)
				l.give("v")
				l.Want(t, "the caller", "v")
				wantStats(t, "it", n[0], fleet.Stats{Loads: 1, Unsent: 1})
			})
		})
	}
}

// The answer to a claim is lost. The process loads as if there were no
// engine, reads back that it had the key, and the others get its result.
func TestLostAnswerToAClaim(t *testing.T) {
	for _, required := range []bool{false, true} {
		t.Run(fmt.Sprintf("RequireEngine=%v", required), func(t *testing.T) {
			opts, want := []fleet.Option{}, fleet.Stats{Loads: 1, Fallbacks: 1}
			if required {
				opts, want = []fleet.Option{fleet.RequireEngine()}, fleet.Stats{Loads: 1}
			}
			inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
				n[0].line.SetLine(enginetest.Line{Answers: enginetest.Way{Lost: true}})
				here := n[0].ask(t, "k")
				settle()
				there := n[1].start(t, "k", fleettest.Never)
				if required {
					time.Sleep(timeout - time.Second) // the claim has no answer, and the reading back has
					n[0].line.SetLine(good)
				}
				here.awaitFn(t)
				n[0].line.SetLine(good)
				time.Sleep(2 * lease) // it is renewed
				here.give("v")
				here.Want(t, "where fn ran", "v")
				there.Want(t, "elsewhere", "v")
				wantStats(t, "where fn ran", n[0], want)
			}, opts...)
		})
	}
}

// The answer to a result is lost, and read back.
func TestLostAnswerToAResult(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		here := n[0].begin(t, "k")
		there := n[1].start(t, "k", fleettest.Never)
		settle()
		n[0].line.SetLine(enginetest.Line{Answers: enginetest.Way{Lost: true}})
		here.give("v")
		there.Want(t, "elsewhere", "v")
		time.Sleep(timeout / 2)
		n[0].line.SetLine(good)
		here.Want(t, "where fn ran", "v")
		wantStats(t, "where fn ran", n[0], fleet.Stats{Loads: 1})
	}, fleet.Linger(time.Hour))
}

// The answer to a claim is lost, and the load ends before the claim is read
// back. The record is released nevertheless.
func TestLostAnswerOutlivesTheLoad(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(enginetest.Line{Answers: enginetest.Way{Held: true}})
		wantGot(t, "a call without an answer", n[0].call(t, "k", "own"), "own")
		if r := store.Records(); r != 1 {
			t.Fatalf("%d records, want the claim", r)
		}
		n[0].line.SetLine(good)
		began := time.Now()
		wantGot(t, "the next call", n[1].call(t, "k", "v"), "v")
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("the next call took %v, want less than the lease of an hour", d)
		}
	}, fleet.Lease(time.Hour))
}

// The engine cannot be reached when the lease is to be renewed. The renewal is
// tried again in time.
func TestRenewalIsTriedAgain(t *testing.T) {
	for name, line := range broken {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
				l := n[0].begin(t, "k")
				there := n[1].start(t, "k", fleettest.Never)
				time.Sleep(lease/2 - time.Second)
				n[0].line.SetLine(line)
				time.Sleep(3 * time.Second) // the renewal was due after 1
				n[0].line.SetLine(good)
				time.Sleep(lease)
				if l.ctx.Err() != nil {
					t.Error("fn was canceled")
				}
				l.give("v")
				l.Want(t, "where fn ran", "v")
				there.Want(t, "elsewhere", "v")
				wantStats(t, "where fn ran", n[0], fleet.Stats{Loads: 1})
			})
		})
	}
}

// All callers leave before the claim is answered. It was stored, and is
// released: no process waits for the end of the lease.
func TestLeavingBeforeTheClaimIsAnswered(t *testing.T) {
	for _, required := range []bool{false, true} {
		// The line works again in time to read the claim back, or later.
		for _, after := range []time.Duration{time.Second, 3 * time.Second, 6 * time.Second} {
			t.Run(fmt.Sprintf("RequireEngine=%v/after=%v", required, after), func(t *testing.T) {
				opts := []fleet.Option{fleet.Lease(time.Hour)}
				if required {
					opts = append(opts, fleet.RequireEngine())
				}
				inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
					n[0].line.SetLine(enginetest.Line{Answers: enginetest.Way{Held: true}})
					c := n[0].start(t, "k", fleettest.Never)
					settle()
					if r := store.Records(); r != 1 {
						t.Fatalf("%d records, want the claim", r)
					}
					c.Cancel()
					c.WantErr(t, "the caller that left", context.Canceled)
					time.Sleep(after)
					n[0].line.SetLine(good)
					mended := time.Now()
					wantGot(t, "the next call", n[1].call(t, "k", "v"), "v")
					if d := time.Since(mended); d > timeout+2*time.Second {
						t.Errorf("the next call took %v, want less than the lease of an hour", d)
					}
					wantStats(t, "where the caller left", n[0], fleet.Stats{})
				}, opts...)
			})
		}
	}
}

// Without the engine.

// When the connection is known to be down, no call waits for the engine.
func TestClosedConnectionFallsBackAtOnce(t *testing.T) {
	for name, takeDown := range map[string]func(*enginetest.Conn){
		"closed": (*enginetest.Conn).Close,
		"cut":    func(c *enginetest.Conn) { c.SetLine(cut) },
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
				required := newNode(t, store, fleet.RequireEngine())
				takeDown(n[0].line)
				takeDown(required.line)
				began := time.Now()
				l := n[0].begin(t, "k")
				time.Sleep(10 * time.Millisecond)
				joined := n[0].start(t, "k", fleettest.Never)
				synctest.Wait()
				l.give("v")
				l.Want(t, "first", "v")
				joined.Want(t, "second", "v")
				wantStats(t, "the Group", n[0], fleet.Stats{Loads: 1, Fallbacks: 1})
				required.start(t, "k", fleettest.Never).WantErr(t, "with RequireEngine", fleet.ErrUnavailable)
				wantStats(t, "with RequireEngine", required, fleet.Stats{})
				wantTook(t, "answered", began, 0)
			})
		})
	}
}

// However long an engine is away, the callers of a process share a load.
func TestLoadWithoutEngineIsShared(t *testing.T) {
	for name, line := range broken {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
				n[0].line.SetLine(line)
				l := n[0].begin(t, "k")
				time.Sleep(5 * lease)
				joined := n[0].start(t, "k", fleettest.Never)
				settle()
				l.give("v")
				l.Want(t, "first", "v")
				joined.Want(t, "second", "v")
			})
		})
	}
}

// The same when the connection goes down during a request, or while the process
// waits for another.
func TestConnectionLostWhileAsking(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(enginetest.Line{Requests: enginetest.Way{Lost: true}}) // the claim does not arrive
		l := n[0].ask(t, "k")
		time.Sleep(timeout / 2)
		if l.runs() {
			t.Error("fell back before the EngineTimeout")
		}
		lost := time.Now()
		n[0].line.SetLine(cut)
		l.awaitFn(t)
		wantTook(t, "fell back", lost, 0)
		l.give("v")
		l.Want(t, "the caller", "v")
	})
}

func TestConnectionLostWhileWaiting(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		waiting := n[1].ask(t, "k")
		settle()
		lost := time.Now()
		n[1].line.SetLine(cut)
		waiting.awaitFn(t)
		wantTook(t, "fell back", lost, 0)
		waiting.give("alone")
		waiting.Want(t, "the caller that waited", "alone")
		wantStats(t, "where it waited", n[1], fleet.Stats{Loads: 1, Fallbacks: 1})
		l.give("v")
		l.Want(t, "where fn ran", "v")
	})
}

// A call that falls back leaves no goroutine behind that releases its claim, if
// the claim cannot have been stored.
func TestFallbackLeavesNobodyBehind(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		waiting := n[1].start(t, "k", fleettest.Returns("alone"))
		settle()
		n[1].line.SetLine(cut)
		waiting.Want(t, "the caller that waited", "alone")
		wantGot(t, "a call after that", n[1].call(t, "k2", "alone"), "alone")
		wantStats(t, "the Group", n[1], fleet.Stats{Loads: 2, Fallbacks: 2})
		synctest.Wait()
		buf := make([]byte, 1<<20)
		if s := string(buf[:runtime.Stack(buf, true)]); strings.Contains(s, "releaseLater") {
			t.Errorf("a goroutine goes on:\n%s", s)
		}
		l.give("v")
		l.Want(t, "where fn ran", "v")
	})
}

// Without the engine, Forget reaches only this process, and returns
// ErrUnavailable.
func TestForgetWithoutEngine(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		old := n[0].begin(t, "k")
		n[0].line.SetLine(cut)
		if err := n[0].Forget(t.Context(), "k"); !errors.Is(err, fleet.ErrUnavailable) {
			t.Errorf("Forget: %v, want ErrUnavailable", err)
		}
		newer := n[0].begin(t, "k")
		old.give("old")
		newer.give("newer")
		old.Want(t, "the forgotten load's caller", "old")
		newer.Want(t, "the next caller", "newer")

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := n[0].Forget(ctx, "k"); err != context.Canceled {
			t.Errorf("Forget with a done context: %v, want context canceled", err)
		}
	})
}

// A client is cut off, and its connection does not know it: calls load after the
// EngineTimeout, and return earlier if their contexts are done.
func TestCutOffClient(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(silent)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if _, err, _ := n[0].DoContext(ctx, "impatient", fleettest.Never); err != context.DeadlineExceeded {
			t.Errorf("an impatient caller: %v, want deadline exceeded", err)
		}
		wantTook(t, "an impatient caller returned", began, 500*time.Millisecond)

		began = time.Now()
		l := n[0].begin(t, "k")
		wantTook(t, "fell back", began, timeout)
		l.give("alone")
		l.Want(t, "the caller", "alone")

		n[0].line.SetLine(good)
		time.Sleep(lease)
		l = n[1].begin(t, "k2")
		there := n[0].start(t, "k2", fleettest.Never)
		wantWatches(t, store, 2)
		l.give("together")
		l.Want(t, "where fn ran", "together")
		there.Want(t, "where it was cut off", "together")
	})
}

// An engine that does not answer in time is no error of the caller's context.
func TestErrUnavailableIsNoContextError(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].line.SetLine(silent)
		_, err, _ := n[0].DoContext(context.Background(), "k", fleettest.Never)
		if !errors.Is(err, fleet.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			t.Errorf("%v, want ErrUnavailable and nothing of a context", err)
		}
		if err := n[0].Forget(t.Context(), "k"); !errors.Is(err, fleet.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Forget: %v, want ErrUnavailable and nothing of a context", err)
		}
	}, fleet.RequireEngine())
}

// The same while waiting: when the renewal is overdue, the engine is asked,
// and has the EngineTimeout to answer.
func TestCutOffWhileWaiting(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		waiting := n[1].ask(t, "k")
		settle()
		n[1].line.SetLine(silent)
		cut := time.Now()
		waiting.awaitFn(t)
		if d := time.Since(cut); d > lease*3/4+timeout {
			t.Errorf("fell back after %v, want at most three quarters of the lease of %v and the EngineTimeout of %v", d, lease, timeout)
		}
		n[1].line.SetLine(good)
		wantWatches(t, store, 1) // only that of the holder
		waiting.give("alone")
		waiting.Want(t, "where it was cut off", "alone")
		wantStats(t, "where it was cut off", n[1], fleet.Stats{Loads: 1, Fallbacks: 1})
		l.give("v")
		l.Want(t, "where fn ran", "v")
	})
}

// A watch that is lost, or receives nothing, costs only time if the result is
// still stored.
func TestWatchLost(t *testing.T) {
	for name, lose := range map[string]func(*enginetest.Conn){
		"closed": (*enginetest.Conn).LoseWatches,
		"silent": func(c *enginetest.Conn) { c.SetLine(deaf) },
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
				l := n[0].begin(t, "k")
				waiting := n[1].start(t, "k", fleettest.Never)
				settle()
				for _, n := range n {
					lose(n.line)
				}
				l.give("v")
				l.Want(t, "where fn ran", "v")
				given := time.Now()
				waiting.Want(t, "elsewhere", "v")
				if d := time.Since(given); d > lease*3/4 {
					t.Errorf("the result came after %v, want three quarters of the lease of %v", d, lease)
				}
			}, fleet.Linger(time.Hour))
		})
	}
}

// A process whose watch receives nothing still finds that the holder has died.
func TestDeadHolderWhileTheWatchIsSilent(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].begin(t, "k")
		waiting := n[1].ask(t, "k")
		settle()
		n[1].line.SetLine(deaf)
		n[0].line.SetLine(cut)
		died := time.Now()
		waiting.awaitFn(t)
		if d := time.Since(died); d > 2*lease {
			t.Errorf("took over after %v, want twice the lease of %v at most", d, lease)
		}
		waiting.give("v")
		waiting.Want(t, "the caller", "v")
	})
}

// A watch that has received nothing for too long is replaced.
func TestSilentWatchIsReplaced(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		waiting := node{line: store.Connect()}
		g, err := fleet.New[string](&deafAtFirst{Engine: waiting.line})
		if err != nil {
			t.Fatal(err)
		}
		waiting.Group = g
		l := n[0].begin(t, "k")
		there := waiting.start(t, "k", fleettest.Never)
		time.Sleep(lease)
		l.give("v")
		given := time.Now()
		there.Want(t, "elsewhere", "v")
		wantTook(t, "the result", given, 0)
	})
}

// A deafAtFirst engine has a first watch that receives nothing.
type deafAtFirst struct {
	engine.Engine
	watched bool
}

func (d *deafAtFirst) Watch(ctx context.Context, key string) <-chan engine.Entry {
	if d.watched {
		return d.Engine.Watch(ctx, key)
	}
	d.watched = true
	return make(chan engine.Entry)
}

// A process that may not watch still gets the results, since the engine is
// asked now and then. It tries to watch again, and ends each watch that it began.
func TestWatchRefused(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		blind := node{line: store.Connect()}
		e := &refusing{Engine: blind.line}
		g, err := fleet.New[string](e, fleet.Lease(time.Hour), fleet.Linger(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		blind.Group = g
		for _, waits := range []bool{false, true} {
			e.watches = nil
			loading, other := blind, n[0]
			if waits {
				loading, other = other, loading
			}
			l := loading.begin(t, "k")
			there := other.start(t, "k", fleettest.Never)
			time.Sleep(time.Minute)
			l.give("v")
			l.Want(t, "where fn ran", "v")
			given := time.Now()
			there.Want(t, "elsewhere", "v")
			if d := time.Since(given); d > 2*time.Second {
				t.Errorf("waits=%v: the result came after %v, want a second or so", waits, d)
			}
			if len(e.watches) < 10 {
				t.Errorf("waits=%v: %d watches, want one each second", waits, len(e.watches))
			}
			for i, ctx := range e.watches {
				if ctx.Err() == nil {
					t.Errorf("waits=%v: the context of watch %d of %d was not canceled", waits, i, len(e.watches))
				}
			}
		}
	}, fleet.Lease(time.Hour), fleet.Linger(time.Hour))
}

// A refusing engine refuses watches, and notes their contexts.
type refusing struct {
	engine.Engine
	watches []context.Context
}

func (r *refusing) Watch(ctx context.Context, _ string) <-chan engine.Entry {
	r.watches = append(r.watches, ctx)
	ch := make(chan engine.Entry)
	close(ch)
	return ch
}

// Forget.

func TestForgetMidLoad(t *testing.T) {
	for _, oldFirst := range []bool{true, false} {
		for _, by := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("oldFirst=%v/by=%d", oldFirst, by), func(t *testing.T) {
				inFleet(t, 4, func(t *testing.T, store *enginetest.Fake, n []node) {
					old := n[0].begin(t, "k")
					there := n[1].start(t, "k", fleettest.Never)
					settle()
					n[by].forget(t, "k")
					settle()
					if f := n[0].Stats().Callers.InFlight + n[1].Stats().Callers.InFlight; f != 0 {
						t.Errorf("%d loads can be joined after Forget", f)
					}
					newer := n[0].begin(t, "k")
					there2, third, fourth := n[1].start(t, "k", fleettest.Never), n[2].start(t, "k", fleettest.Never), n[3].start(t, "k", fleettest.Never)
					wantWatches(t, store, 6)
					time.Sleep(2 * lease) // both renew their leases
					if old.ctx.Err() != nil {
						t.Error("the forgotten load was canceled")
					}
					end := func(l *load, v string, calls ...*fleettest.Call) {
						l.give(v)
						for i, c := range calls {
							c.Want(t, fmt.Sprintf("caller %d of the %s load", i, v), v)
						}
					}
					if oldFirst {
						end(old, "old", old.Call, there)
					}
					end(newer, "new", newer.Call, there2, third, fourth)
					if !oldFirst {
						end(old, "old", old.Call, there)
					}
				})
			})
		}
	}
}

// Two processes forget the same load at once, for example after a write of each.
// The load continues.
func TestTwoForgets(t *testing.T) {
	inFleet(t, 4, func(t *testing.T, store *enginetest.Fake, n []node) {
		for i := range 50 {
			key := fmt.Sprint("k", i)
			l := n[0].begin(t, key)
			there := n[1].start(t, key, fleettest.Never)
			settle()
			var both sync.WaitGroup
			for _, n := range n[2:] {
				both.Go(func() {
					if err := n.Forget(t.Context(), key); err != nil {
						t.Error(err)
					}
				})
			}
			both.Wait()
			settle()
			if f := n[0].Stats().Callers.InFlight + n[1].Stats().Callers.InFlight; f != 0 {
				t.Errorf("%d loads can be joined after Forget", f)
			}
			if l.ctx.Err() != nil {
				t.Fatal("the forgotten load was canceled")
			}
			l.give("v")
			l.Want(t, "where fn ran", "v")
			there.Want(t, "elsewhere", "v")
		}
	})
}

// A flight that learns late that its load was forgotten does not affect the load
// that took its place. (It may detach that load's flight in this process; then
// the next caller waits for the load through the engine.)
func TestLateNewsKeepsTheSuccessor(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		old := n[0].begin(t, "k")
		there := n[1].start(t, "k", fleettest.Never)
		settle()
		for _, n := range n {
			n.line.SetLine(deaf) // they will ask when the renewal is overdue
		}
		n[1].forget(t, "k")
		newer := n[1].begin(t, "k")
		time.Sleep(lease)
		second := n[1].start(t, "k", fleettest.Never)
		settle()
		old.give("old")
		old.Want(t, "the forgotten load's caller", "old")
		there.Want(t, "the caller that waited for it", "old")
		newer.give("new")
		newer.Want(t, "first", "new")
		second.Want(t, "second", "new")
	}, fleet.Linger(time.Hour))
}

// A flight that waits for a forgotten load does not detach the flight that took
// its place, however often that load renews its lease.
func TestForgottenLoadDetachesOnce(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		old := n[0].begin(t, "k")
		there := n[1].start(t, "k", fleettest.Never)
		settle()
		n[1].forget(t, "k")
		newer := n[1].begin(t, "k")
		time.Sleep(2 * lease)
		second := n[1].start(t, "k", fleettest.Never)
		settle()
		if s := n[1].Stats().Callers; s.Joined != 1 {
			t.Errorf("%d callers joined, want the second one", s.Joined)
		}
		old.give("old")
		old.Want(t, "the forgotten load's caller", "old")
		there.Want(t, "the caller that waited for it", "old")
		newer.give("new")
		newer.Want(t, "first", "new")
		second.Want(t, "second", "new")
	})
}

// A call in this process starts a new load as soon as Forget has returned.
func TestForgetThenCallHere(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		for i := range 20 {
			old := n[1].begin(t, "k")
			waits := n[0].start(t, "k", fleettest.Never)
			settle()
			n[0].forget(t, "k")
			newer := n[0].begin(t, "k")
			old.give("old")
			old.Want(t, "the old load's caller", "old")
			waits.Want(t, "the caller that waited for it", "old")
			v := fmt.Sprint(i)
			newer.give(v)
			newer.Want(t, "the call after Forget", v)
		}
	})
}

// The callers of a forgotten load leave, or its process dies. Processes that wait
// for it then wait for the load that took its place, or load for themselves.
func TestForgottenLoadIsGivenUp(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprintf("dies=%v", dies), func(t *testing.T) {
			inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
				here := n[0].begin(t, "k")
				there := n[1].ask(t, "k")
				settle()
				n[2].forget(t, "k")
				settle()
				if f := n[0].Stats().Callers.InFlight + n[1].Stats().Callers.InFlight; f != 0 {
					t.Errorf("%d loads can be joined after Forget", f)
				}
				if dies {
					n[0].line.SetLine(cut)
				} else {
					here.Cancel()
				}
				there.awaitFn(t)
				there.give("v")
				there.Want(t, "the caller that waited for the forgotten load", "v")
				here.Cancel()
			})
		})
	}
}

// Forget of a key that is not being loaded does no harm. After the load has ended,
// Forget does not affect processes that still wait for its result.
func TestForgetOfNothing(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		n[0].forget(t, "k")
		wantGot(t, "a call after Forget of nothing", n[0].call(t, "k", "v"), "v")
		n[0].forget(t, "k")
		wantGot(t, "a call after Forget of a result", n[0].call(t, "k", "w"), "w")

		l := n[0].begin(t, "k")
		waiting := n[1].start(t, "k", fleettest.Never)
		settle()
		n[1].line.SetLine(enginetest.Line{News: enginetest.Way{Held: true}})
		l.give("x")
		l.Want(t, "where fn ran", "x")
		n[0].forget(t, "k")
		n[1].line.SetLine(good)
		waiting.Want(t, "the caller that waited for the result", "x")
	})
}

// The load is forgotten while updates are lost, and another takes its place. The
// processes that wait for it, and its holder, find its new part.
func TestForgetUnheard(t *testing.T) {
	for _, over := range []bool{false, true} {
		t.Run(fmt.Sprintf("over=%v", over), func(t *testing.T) {
			inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
				old := n[0].begin(t, "k")
				there := n[1].start(t, "k", fleettest.Never)
				settle()
				for _, n := range n {
					n.line.SetLine(deaf)
				}
				n[2].forget(t, "k")
				newer := n[2].begin(t, "k")
				if !over {
					time.Sleep(2 * lease)
					if old.ctx.Err() != nil {
						t.Error("the forgotten load was canceled")
					}
				}
				old.give("old") // and its write finds out
				old.Want(t, "where the old load ran", "old")
				there.Want(t, "the caller that waited for the old load", "old")
				newer.give("new")
				newer.Want(t, "the next load's caller", "new")
			}, fleet.Linger(time.Hour))
		})
	}
}

// The same, if nothing takes its place, while the moved record is still there and
// after it has expired.
func TestForgetUnheardAndAlone(t *testing.T) {
	for _, wait := range []time.Duration{lease / 2, 2 * lease} {
		t.Run(fmt.Sprint("wait=", wait), func(t *testing.T) {
			inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
				l := n[0].begin(t, "k")
				there := n[1].start(t, "k", fleettest.Never)
				settle()
				for _, n := range n {
					n.line.SetLine(deaf)
				}
				n[2].forget(t, "k")
				time.Sleep(wait)
				if l.ctx.Err() != nil {
					t.Error("the forgotten load was canceled")
				}
				l.give("old")
				l.Want(t, "where the old load ran", "old")
				there.Want(t, "the caller that waited for it", "old")
			}, fleet.Linger(time.Hour))
		})
	}
}

// A Forget that stopped half-way does not disturb the next one.
func TestForgetAfterHalfAForget(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		there := n[1].start(t, "k", fleettest.Never)
		settle()
		raw := store.Connect()
		now, err := raw.Latest(t.Context(), engine.Name{Key: "k", Part: "current"})
		if err != nil {
			t.Fatal(err)
		}
		token := between(string(now.Data), `"token":"`, `"`)
		if _, err := raw.Write(t.Context(), engine.Name{Key: "k", Part: token}, engine.Put{Data: now.Data, TTL: lease}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lease - time.Second)
		n[1].forget(t, "k")
		time.Sleep(2 * lease)
		if l.ctx.Err() != nil {
			t.Error("the forgotten load was canceled")
		}
		l.give("old")
		l.Want(t, "where fn ran", "old")
		there.Want(t, "elsewhere", "old")
	})
}

func between(s, before, after string) string {
	_, s, _ = strings.Cut(s, before)
	s, _, _ = strings.Cut(s, after)
	return s
}

// Values that cannot be sent.

// undecodable is a codec that encodes values but cannot decode them.
type undecodable struct{ codec }

func (undecodable) Unmarshal(_ []byte, v any) error {
	*v.(*string) = "half"
	return errors.New("undecodable")
}

func TestValueThatDoesNotTravel(t *testing.T) {
	for name, tt := range map[string]struct {
		value    string
		codec    fleet.Codec
		unsent   uint64 // where it was loaded
		warnings int
	}{
		"too large":       {strings.Repeat("x", maxData), codec{}, 1, 1},
		"does not encode": {unencodable, codec{}, 1, 1},
		"does not decode": {"v", undecodable{}, 0, 2}, // one for each process that met it
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, 3, func(t *testing.T, store *enginetest.Fake, n []node) {
				log := captureLog(t)
				const rounds = 3 // and one warning
				for range rounds {
					here := n[0].begin(t, "k")
					there, there2 := n[1].ask(t, "k"), n[2].ask(t, "k")
					wantWatches(t, store, 3)
					here.give(tt.value)
					here.Want(t, "where fn ran first", tt.value)
					there.awaitFn(t)
					there2.awaitFn(t)
					wantWatches(t, store, 0) // there is nothing more to wait for
					there.give("one's own")
					there2.give("one's own")
					there.Want(t, "second", "one's own")
					there2.Want(t, "third", "one's own")
				}
				wantStats(t, "where fn ran first", n[0], fleet.Stats{Loads: rounds, Unsent: rounds * tt.unsent})
				wantStats(t, "second", n[1], fleet.Stats{Loads: rounds})
				if got := strings.Count(log.String(), "level=WARN"); got != tt.warnings {
					t.Errorf("%d warnings, want %d:\n%s", got, tt.warnings, log)
				}
			}, fleet.Encoding(tt.codec))
		})
	}
}

func TestEncoding(t *testing.T) {
	inFleet(t, 2, func(t *testing.T, store *enginetest.Fake, n []node) {
		l := n[0].begin(t, "k")
		there := n[1].start(t, "k", fleettest.Never)
		settle()
		l.give("\xff\n\x00")
		l.Want(t, "where fn ran", "\xff\n\x00")
		there.Want(t, "elsewhere", "\xff\n\x00")
	}, fleet.Encoding(codec{}))
}

// Any other data stored under a key, perhaps by a later version, is replaced.
func TestForeignRecordIsReplaced(t *testing.T) {
	inFleet(t, 1, func(t *testing.T, store *enginetest.Fake, n []node) {
		raw, name := store.Connect(), engine.Name{Key: "k", Part: "current"}
		records := []string{
			"foreign",
			"{}",
			`{"state":"pending","token":"x"}`,
			`{"state":"pending","lease":3600000}`,
			`{"state":"resting","token":"x","lease":3600000}`,
		}
		for _, foreign := range records {
			there, err := raw.Latest(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := raw.Write(t.Context(), name, engine.Put{Expect: there.Rev, Data: []byte(foreign), TTL: time.Hour}); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			wantGot(t, "a call over "+foreign, n[0].call(t, "k", "v"), "v")
			wantTook(t, "a call over "+foreign, began, 0)
		}
		wantStats(t, "it", n[0], fleet.Stats{Loads: uint64(len(records))})
	})
}
