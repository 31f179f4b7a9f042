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
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight"
	"example.com/singleflight/fleet"
)

// begin has g load key, and returns when it does.
func begin(t *testing.T, g *fleet.Group[string], key string) (*loader, *call, context.Context) {
	t.Helper()
	l := newLoader()
	c := start(t, g, key, l.fn)
	return l, c, l.running(t)
}

// never is the fn of who should get another's result.
func never(context.Context) (string, error) { return "", errors.New("loaded what another was loading") }

func returns(v string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return v, nil }
}

func wantStats(t *testing.T, who string, g *fleet.Group[string], want fleet.Stats) {
	t.Helper()
	got := g.Stats()
	got.Callers = singleflight.Stats{}
	if got != want {
		t.Errorf("%s: stats %+v, want %+v", who, got, want)
	}
}

func TestOneLoadInTheFleet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8)
	l, first, _ := begin(t, w.g[0], "k")
	calls := []*call{first}
	for _, g := range w.g {
		calls = append(calls, start(t, g, "k", never))
	}
	w.watched(8)
	until(t, "the caller beside the first", func() bool { return w.g[0].Stats().Callers.Joined == 1 })
	l.give("v")
	for i, c := range calls {
		a := c.wait(t)
		if want := (answer{v: "v", shared: i < 2}); a != want {
			t.Errorf("caller %d got %+v, want %+v", i, a, want)
		}
	}
	wantStats(t, "loading", w.g[0], fleet.Stats{Loads: 1})
	for _, g := range w.g[1:] {
		wantStats(t, "waiting", g, fleet.Stats{Received: 1})
	}
}

// A call that begins after the load has ended gets a newer one, in every process,
// although the result is still there for those who waited.
func TestFreshAfterReturn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, fleet.Linger(time.Hour))
	for i := range 6 {
		v := fmt.Sprint(i)
		if got, err, _ := w.g[i/2%2].DoContext(t.Context(), "k", returns(v)); got != v || err != nil {
			t.Errorf("call %d: %q, %v, want %q", i, got, err, v)
		}
	}
	if n := w.info().State.Msgs; n != 1 {
		t.Errorf("%d records, want the last result: the test tests nothing", n)
	}
}

// The results are gone from the bucket after Linger, and leave no markers.
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
	if n := w.info().State.Msgs; n != 5 {
		t.Errorf("%d records, want 5: 4 of loads, and a marker", n)
	}
	w.empty()
	if d := time.Since(ended); d > 3*time.Second {
		t.Errorf("the bucket was empty after %v, want the Linger of 1s and a second", d)
	}
}

func TestKeysOfAnyContent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	long := strings.Repeat("long", 10_000)
	keys := []string{
		"", " ", "=", "=_", "=20", "=2E", ".", "..", "a.b", "a=2Eb", "*", ">", "a.*", "a.>", "now", "a.now", "$KV", "\x00", "\r\n",
		"\xff", "ключ", "k", "K", "a/b", "a_b", "a-b", long, long + "x", long[:85], long[:86],
	}
	loaders := make([]*loader, len(keys))
	var loading, waiting []*call
	for i, key := range keys {
		var c *call
		loaders[i], c, _ = begin(t, w.g[0], key)
		loading = append(loading, c)
	}
	w.watched(len(keys))
	for _, key := range keys {
		waiting = append(waiting, start(t, w.g[1], key, never))
	}
	w.watched(2 * len(keys))
	for i, key := range keys {
		v := fmt.Sprint(i)
		loaders[i].give(v)
		loading[i].want(t, fmt.Sprintf("the loader of %.20q", key), v)
		waiting[i].want(t, fmt.Sprintf("the waiter for %.20q", key), v)
	}
}

// Failure.

func TestErrorReachesEveryProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	l, here, _ := begin(t, w.g[0], "k")
	there := start(t, w.g[1], "k", never)
	w.watched(2)
	errBroken := errors.New("broken")
	l.end <- func() (string, error) { return "partial", errBroken }

	if a := here.wait(t); a.v != "partial" || a.err != errBroken {
		t.Errorf("where fn ran: %+v, want partial, %v", a, errBroken)
	}
	a := there.wait(t)
	if remote, ok := errors.AsType[*fleet.RemoteError](a.err); !ok || remote.Message != "broken" || a.v != "" {
		t.Errorf("elsewhere: %+v, want a RemoteError: broken", a)
	}
	wantStats(t, "elsewhere", w.g[1], fleet.Stats{Received: 1})
	// It is not remembered.
	if v, err, _ := w.g[1].DoContext(t.Context(), "k", returns("v")); v != "v" || err != nil {
		t.Errorf("the next call: %q, %v, want v", v, err)
	}
}

// An error's text may be of any length, and its Error method may panic.
func TestOddErrorReachesEveryProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	for text, err := range map[string]error{
		strings.Repeat("x", 8<<10):      errors.New(strings.Repeat("x", 10<<20)),
		"%!v(PANIC=Error method: oops)": panickyError{},
	} {
		l, here, _ := begin(t, w.g[0], "k")
		w.watched(1)
		there := start(t, w.g[1], "k", never)
		w.watched(2)
		l.end <- func() (string, error) { return "", err }
		if a := here.wait(t); a.err != err {
			t.Errorf("where fn ran: %.100v, want the same error", a)
		}
		a := there.wait(t)
		if remote, ok := errors.AsType[*fleet.RemoteError](a.err); !ok || remote.Message != text {
			t.Errorf("elsewhere: %.100v, want a RemoteError: %.100s", a, text)
		}
		w.watched(0)
	}
}

type panickyError struct{}

func (panickyError) Error() string { panic("oops") }

func explode() (string, error) { panic("boom") }

// A panic is raised where fn ran, as in a singleflight.Group, and is an error
// elsewhere: the processes do not take over and die one after the other.
func TestPanicStaysInItsProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	l, here, _ := begin(t, w.g[0], "k")
	joined := start(t, w.g[0], "k", never)
	until(t, "the second caller", func() bool { return w.g[0].Stats().Callers.Joined == 1 })
	there := start(t, w.g[1], "k", never)
	w.watched(2)
	l.end <- explode
	for _, c := range []*call{here, joined} {
		a := c.wait(t)
		p, ok := a.panic.(*singleflight.PanicError)
		if !ok || p.Value != "boom" || !strings.Contains(string(p.Stack), "explode") {
			t.Errorf("where fn ran: %+v, want a PanicError: boom, with the stack of fn", a)
		}
	}
	a := there.wait(t)
	if remote, ok := errors.AsType[*fleet.RemoteError](a.err); !ok || remote.Message != "panic: boom" {
		t.Errorf("elsewhere: %+v, want a RemoteError: panic: boom", a)
	}
}

func TestGoexitStaysInItsProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	l, here, _ := begin(t, w.g[0], "k")
	there := start(t, w.g[1], "k", never)
	w.watched(2)
	l.end <- func() (string, error) { runtime.Goexit(); return "", nil }
	if a := here.wait(t); !a.exited {
		t.Errorf("where fn ran: %+v, want the caller's goroutine to exit", a)
	}
	a := there.wait(t)
	if remote, ok := errors.AsType[*fleet.RemoteError](a.err); !ok || remote.Message != singleflight.ErrGoexit.Error() {
		t.Errorf("elsewhere: %+v, want a RemoteError: %v", a, singleflight.ErrGoexit)
	}
}

func TestBadCallsPanic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	func() {
		defer func() {
			if p := recover(); p != "singleflight: nil Context" {
				t.Errorf("nil ctx: panic %v, want singleflight: nil Context", p)
			}
		}()
		var none context.Context
		w.g[0].DoContext(none, "k", never)
	}()
	if a := start(t, w.g[0], "k", nil).wait(t); a.panic == nil {
		t.Errorf("nil fn: %+v, want a panic", a)
	}
}

// Leaving.

// When the last caller in the loading process leaves, fn is canceled, and
// one of those who wait elsewhere takes over at once, long before the lease
// ends; even if fn does not heed its context.
func TestLastCallerOutHandsOver(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("deaf=%v", deaf), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3, fleet.Lease(time.Hour))
			release := make(chan struct{})
			defer close(release)
			fnCtx := make(chan context.Context, 1)
			first := start(t, w.g[0], "k", func(ctx context.Context) (string, error) {
				fnCtx <- ctx
				if deaf {
					<-release
				}
				<-ctx.Done()
				return "too late", nil
			})
			ctx := <-fnCtx
			l := newLoader()
			second, third := start(t, w.g[1], "k", l.fn), start(t, w.g[2], "k", l.fn)
			w.watched(3)
			first.cancel()
			if a := first.wait(t); a.err != context.Canceled {
				t.Errorf("who left: %+v, want context canceled", a)
			}
			<-ctx.Done()
			l.running(t)
			l.give("v")
			second.want(t, "second", "v")
			third.want(t, "third", "v")
			l.idle(t)
			a, b := w.g[1].Stats(), w.g[2].Stats()
			if a.Takeovers+b.Takeovers != 1 || a.Loads+b.Loads != 1 {
				t.Errorf("stats %+v, %+v, want 1 takeover, 1 load", a, b)
			}
		})
	}
}

// A caller who cannot leave keeps the load alive, in its own process too.
func TestWhoWaitsElsewhereLeavesAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	l, first, ctx := begin(t, w.g[0], "k")
	second := start(t, w.g[1], "k", never)
	w.watched(2)
	second.cancel()
	if a := second.wait(t); a.err != context.Canceled {
		t.Errorf("who left: %+v, want context canceled", a)
	}
	w.watched(1)
	if ctx.Err() != nil {
		t.Error("fn was canceled by a leaver in another process")
	}
	l.give("v")
	first.want(t, "first", "v")
}

func TestContextDoneOnEntryDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err, _ := w.g[0].DoContext(ctx, "k", never); err != context.Canceled {
		t.Errorf("%v, want context canceled", err)
	}
	if n := w.info().State.LastSeq; n != 0 {
		t.Errorf("%d writes, want none", n)
	}
}

// A Background caller, whose fn runs for it alone, is no different.
func TestBackgroundCaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	l := newLoader()
	got := make(chan string)
	go func() {
		v, _, _ := w.g[0].DoContext(context.Background(), "k", l.fn)
		got <- v
	}()
	l.running(t)
	there := start(t, w.g[1], "k", never)
	w.watched(2)
	l.give("v")
	if v := <-got; v != "v" {
		t.Errorf("the caller with Background got %q, want v", v)
	}
	there.want(t, "elsewhere", "v")
}

// fn's context has the values of the first caller's, and no deadline.
func TestFnContextHasTheFirstCallersValues(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	type k struct{}
	ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), k{}, "mine"), patience)
	defer cancel()
	w.g[0].DoContext(ctx, "k", func(ctx context.Context) (string, error) {
		if v := ctx.Value(k{}); v != "mine" {
			t.Errorf("value %v, want mine", v)
		}
		if d, ok := ctx.Deadline(); ok {
			t.Errorf("deadline %v, want none", d)
		}
		return "", nil
	})
}

// A load that calls for its own key, and waits, ends when a time limit inside fn
// says so, as in a Group.
func TestTimeLimitInsideFnEndsAFlightThatWaitsForItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	inside := make(chan struct{})
	c := start(t, w.g[0], "k", func(ctx context.Context) (string, error) {
		close(inside)
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		v, err, _ := w.g[0].DoContext(ctx, "k", never)
		return v, err
	})
	<-inside
	until(t, "the inner call", func() bool { return w.g[0].Stats().Callers.Joined == 1 })
	c.cancel()
	if a := c.wait(t); a.err != context.Canceled {
		t.Errorf("%+v, want context canceled", a)
	}
	until(t, "the end of it all", func() bool {
		s := w.g[0].Stats()
		return s.Callers.Running == 0 && s.Running == 0
	})
}

// The lease.

func TestLoadOutlastsTheLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, fleet.Lease(time.Second))
	l, here, ctx := begin(t, w.g[0], "k")
	there := start(t, w.g[1], "k", never)
	time.Sleep(4 * time.Second) // of the server's clock too
	if ctx.Err() != nil {
		t.Error("fn was canceled")
	}
	l.give("v")
	here.want(t, "where fn ran", "v")
	there.want(t, "elsewhere", "v")
	if n := w.info().State.LastSeq; n < 6 || n > 12 {
		t.Errorf("%d writes, want one at each half of the lease, and two", n)
	}
}

// A holder that is cut off, or stopped, for longer than its lease loses the
// key. When it is back its context is canceled, and its callers get the
// newer value, whether it is there already or still being loaded.
func TestHolderThatLostItsLeaseGivesTheNewerValue(t *testing.T) {
	t.Parallel()
	for _, over := range []bool{false, true} {
		for _, deaf := range []bool{false, true} {
			t.Run(fmt.Sprintf("over=%v/deaf=%v", over, deaf), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 1, fleet.Linger(time.Hour))
				g, line := w.behind(fleet.Lease(time.Second), fleet.EngineTimeout(time.Hour))
				release := make(chan struct{})
				defer close(release)
				fnCtx := make(chan context.Context, 1)
				old := start(t, g, "k", func(ctx context.Context) (string, error) {
					fnCtx <- ctx
					if deaf {
						<-release
					}
					<-ctx.Done()
					return "", ctx.Err()
				})
				ctx := <-fnCtx
				l := newLoader()
				newer := start(t, w.g[0], "k", l.fn)
				w.watched(2)
				line.cut()
				l.running(t) // it has taken over
				if over {
					l.give("newer")
					newer.want(t, "who took over", "newer")
				}
				if ctx.Err() != nil {
					t.Error("fn was canceled before the news can have come")
				}
				line.mend()
				<-ctx.Done()
				if !over {
					l.give("newer")
					newer.want(t, "who took over", "newer")
				}
				old.want(t, "who had lost its lease", "newer")
				wantStats(t, "who took over", w.g[0], fleet.Stats{Loads: 1, Takeovers: 1})
				s := g.Stats()
				if s.Received != 1 || s.Loads != 1 {
					t.Errorf("who had lost its lease: stats %+v, want 1 received, 1 load", s)
				}
			})
		}
	}
}

// The write of a holder that has lost its lease is rejected, even if it is
// the first thing that it does.
func TestLateWriteIsRejected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, fleet.Linger(time.Hour))
	g, line := w.behind(fleet.Lease(time.Second), fleet.EngineTimeout(time.Hour))
	l, old, _ := begin(t, g, "k")
	l2 := newLoader()
	newer := start(t, w.g[0], "k", l2.fn)
	w.watched(2)
	line.cut()
	l2.running(t)
	l.give("old") // fn has ended before the loss is known
	time.Sleep(10 * time.Millisecond)
	line.mend()
	l2.give("newer")
	newer.want(t, "who took over", "newer")
	old.want(t, "who had lost its lease", "newer")
}

// If nobody took over meanwhile, the value is as good as any.
func TestHolderWhoseLeaseRanOutUnnoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	g, line := w.behind(fleet.Lease(time.Second), fleet.EngineTimeout(time.Hour))
	l, c, _ := begin(t, g, "k")
	w.watched(1)
	line.cut()
	w.empty()
	line.mend()
	l.give("v")
	c.want(t, "the caller", "v")
	wantStats(t, "it", g, fleet.Stats{Loads: 1, Unsent: 1})
}

// The answer to a claim is lost. The process loads as if there were no
// engine, reads back that it had the key, and the others get its result.
func TestLostAnswerToAClaim(t *testing.T) {
	t.Parallel()
	for _, required := range []bool{false, true} {
		t.Run(fmt.Sprintf("RequireEngine=%v", required), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1, fleet.Lease(2*time.Second))
			opts := []fleet.Option{fleet.Lease(2 * time.Second), fleet.EngineTimeout(500 * time.Millisecond)}
			if required {
				opts = append(opts, fleet.RequireEngine())
			}
			g, line := w.behind(opts...)
			line.set(false, true)
			l := newLoader()
			here := start(t, g, "k", l.fn)
			until(t, "the claim", func() bool { return w.info().State.LastSeq == 1 })
			there := start(t, w.g[0], "k", never)
			w.watched(1)
			if required {
				time.Sleep(600 * time.Millisecond) // the claim has no answer; the reading back will have
				line.mend()
				l.running(t)
			} else {
				l.running(t)
				line.mend()
			}
			time.Sleep(3 * time.Second) // longer than the lease: it is renewed
			l.give("v")
			here.want(t, "where fn ran", "v")
			there.want(t, "elsewhere", "v")
			want := fleet.Stats{Loads: 1}
			if !required {
				want.Fallbacks = 1
			}
			wantStats(t, "where fn ran", g, want)
		})
	}
}

// The answer to a result is lost, and read back.
func TestLostAnswerToAResult(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	g, line := w.behind(fleet.EngineTimeout(time.Second), fleet.Linger(time.Hour))
	l, here, _ := begin(t, g, "k")
	there := start(t, w.g[0], "k", never)
	w.watched(2)
	line.set(false, true)
	l.give("v")
	there.want(t, "elsewhere", "v")
	time.Sleep(1100 * time.Millisecond)
	line.mend()
	here.want(t, "where fn ran", "v")
	wantStats(t, "where fn ran", g, fleet.Stats{Loads: 1})
}

// Forget.

func TestForgetMidLoad(t *testing.T) {
	t.Parallel()
	for _, oldFirst := range []bool{true, false} {
		for _, by := range []int{0, 1, 2} {
			t.Run(fmt.Sprintf("oldFirst=%v/by=%d", oldFirst, by), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 4, fleet.Lease(time.Second))
				l, here, ctx := begin(t, w.g[0], "k")
				there := start(t, w.g[1], "k", never)
				w.watched(2)
				if err := w.g[by].Forget(t.Context(), "k"); err != nil {
					t.Fatal(err)
				}
				until(t, "the news", func() bool {
					return w.g[0].Stats().Callers.InFlight+w.g[1].Stats().Callers.InFlight == 0
				})
				l2, here2, _ := begin(t, w.g[0], "k")
				there2, third, fourth := start(t, w.g[1], "k", never), start(t, w.g[2], "k", never), start(t, w.g[3], "k", never)
				w.watched(6)
				time.Sleep(1500 * time.Millisecond) // both renew their leases
				if ctx.Err() != nil {
					t.Error("the forgotten load was canceled")
				}
				end := func(l *loader, v string, calls ...*call) {
					l.give(v)
					for i, c := range calls {
						c.want(t, fmt.Sprintf("caller %d of the %s load", i, v), v)
					}
				}
				if oldFirst {
					end(l, "old", here, there)
					end(l2, "new", here2, there2, third, fourth)
				} else {
					end(l2, "new", here2, there2, third, fourth)
					end(l, "old", here, there)
				}
				w.empty()
			})
		}
	}
}

// Two processes forget the same load at once, after a write of each, say. It
// goes on all the same.
func TestTwoForgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4)
	for i := range 20 {
		key := fmt.Sprint("k", i)
		l, here, ctx := begin(t, w.g[0], key)
		there := start(t, w.g[1], key, never)
		until(t, "both watches", func() bool { return watches(w.js, key) == 2 })
		var both sync.WaitGroup
		for _, g := range w.g[2:] {
			both.Go(func() {
				if err := g.Forget(t.Context(), key); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		until(t, "the news", func() bool {
			return w.g[0].Stats().Callers.InFlight+w.g[1].Stats().Callers.InFlight == 0
		})
		if ctx.Err() != nil {
			t.Fatal("the forgotten load was canceled")
		}
		l.give("v")
		here.want(t, "where fn ran", "v")
		there.want(t, "elsewhere", "v")
	}
}

// A flight that hears late that its load was forgotten does not touch the
// one that has its place in this process.
func TestLateNewsKeepsTheSuccessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, fleet.Lease(2*time.Second), fleet.Linger(time.Hour))
	l, old, _ := begin(t, w.g[0], "k")
	there := start(t, w.g[1], "k", never)
	w.watched(2)
	w.blind() // they will ask after three quarters of the lease
	if err := w.g[1].Forget(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	l2, first, _ := begin(t, w.g[1], "k")
	time.Sleep(3 * time.Second)
	second := start(t, w.g[1], "k", never)
	until(t, "the second caller", func() bool { s := w.g[1].Stats().Callers; return s.Executions+s.Joined == 3 })
	if s := w.g[1].Stats().Callers; s.Joined != 1 {
		t.Error("the second caller did not join the first")
	}
	l.give("old")
	old.want(t, "the forgotten load's caller", "old")
	there.want(t, "who waited for it", "old")
	l2.give("new")
	first.want(t, "first", "new")
	second.want(t, "second", "new")
}

// A call in this process starts anew as soon as Forget has returned.
func TestForgetThenCallHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	l, there, _ := begin(t, w.g[1], "k")
	for i := range 20 {
		c := start(t, w.g[0], "k", never)
		w.watched(2)
		if err := w.g[0].Forget(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
		v := fmt.Sprint(i)
		l2 := newLoader()
		c2 := start(t, w.g[0], "k", l2.fn)
		l2.running(t)
		l.give("old")
		there.want(t, "the old load's caller", "old")
		c.want(t, "who waited for it", "old")
		l2.give(v)
		c2.want(t, "who called after Forget", v)
		w.watched(0)
		l, there, _ = begin(t, w.g[1], "k")
	}
}

// A forgotten load whose callers leave, or whose process dies, leaves those
// who wait elsewhere to the load that took its place, or to one of their own.
func TestForgottenLoadIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{false, true} {
		t.Run(fmt.Sprintf("cut=%v", cut), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			g, line := w.behind(fleet.Lease(time.Second), fleet.EngineTimeout(time.Second))
			_, here, _ := begin(t, g, "k")
			l2 := newLoader()
			there := start(t, w.g[0], "k", l2.fn)
			w.watched(2)
			if err := w.g[1].Forget(t.Context(), "k"); err != nil {
				t.Fatal(err)
			}
			until(t, "the news", func() bool { return g.Stats().Callers.InFlight+w.g[0].Stats().Callers.InFlight == 0 })
			if cut {
				line.cut()
			} else {
				here.cancel()
			}
			l2.running(t)
			l2.give("v")
			there.want(t, "who waited for the forgotten load", "v")
			if cut {
				line.mend()
			}
		})
	}
}

// Forget of a key that nobody loads does nothing, and one after the load has
// ended does not hurt its waiters.
func TestForgetOfNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	if err := w.g[0].Forget(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	if n := w.info().State.LastSeq; n != 0 {
		t.Errorf("%d writes, want none", n)
	}
	w.g[0].DoContext(t.Context(), "k", returns("v"))
	if err := w.g[0].Forget(t.Context(), "k"); err != nil {
		t.Error(err)
	}
	if n := w.info().State.LastSeq; n != 2 {
		t.Errorf("%d writes, want claim and result", n)
	}
}

// Values that do not travel.

type codec struct {
	marshal   func(any) ([]byte, error)
	unmarshal func([]byte, any) error
}

func (c codec) Marshal(v any) ([]byte, error)      { return c.marshal(v) }
func (c codec) Unmarshal(data []byte, v any) error { return c.unmarshal(data, v) }

func asIs(v any) ([]byte, error)        { return []byte(v.(string)), nil }
func toString(data []byte, v any) error { *v.(*string) = string(data); return nil }
func noMarshal(any) ([]byte, error)     { return nil, errors.New("no encoding") }
func noUnmarshal(_ []byte, v any) error { *v.(*string) = "half"; return errors.New("no decoding") }

func TestValueThatDoesNotTravel(t *testing.T) {
	for name, tt := range map[string]struct {
		value  string
		bucket jetstream.KeyValueConfig
		codec  codec
		unsent uint64 // where it was loaded
	}{
		"too large for the connection": {strings.Repeat("x", 2<<20), jetstream.KeyValueConfig{}, codec{asIs, toString}, 1},
		"too large for the bucket":     {strings.Repeat("x", 2<<10), jetstream.KeyValueConfig{MaxValueSize: 1 << 10}, codec{asIs, toString}, 1},
		"more than the bucket holds":   {strings.Repeat("x", 200<<10), jetstream.KeyValueConfig{MaxBytes: 100 << 10}, codec{asIs, toString}, 1},
		"does not encode":              {"v", jetstream.KeyValueConfig{}, codec{noMarshal, toString}, 1},
		"does not decode":              {"v", jetstream.KeyValueConfig{}, codec{asIs, noUnmarshal}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			log := captureLog(t) // and so not parallel
			w := newWorldOn(t, tt.bucket, 3, fleet.Encoding(tt.codec))
			for range 2 {
				l, here, _ := begin(t, w.g[0], "k")
				l1, l2 := newLoader(), newLoader()
				there, there2 := start(t, w.g[1], "k", l1.fn), start(t, w.g[2], "k", l2.fn)
				w.watched(3)
				l.give(tt.value)
				here.want(t, "where fn ran first", tt.value)
				l1.running(t)
				l2.running(t)
				w.watched(0) // there is nothing more to wait for
				l1.give("one's own")
				l2.give("one's own")
				there.want(t, "second", "one's own")
				there2.want(t, "third", "one's own")
				w.watched(0)
			}
			wantStats(t, "where fn ran first", w.g[0], fleet.Stats{Loads: 2, Unsent: 2 * tt.unsent})
			wantStats(t, "second", w.g[1], fleet.Stats{Loads: 2})
			// Once for each Group that met it.
			want := 1
			if tt.unsent == 0 {
				want = 2
			}
			if n := strings.Count(log.String(), "level=WARN"); n != want {
				t.Errorf("%d warnings, want %d:\n%s", n, want, log)
			}
		})
	}
}

func TestEncoding(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2, fleet.Encoding(codec{asIs, toString}))
	l, here, _ := begin(t, w.g[0], "k")
	there := start(t, w.g[1], "k", never)
	w.watched(2)
	l.give("\xff\n\x00")
	here.want(t, "where fn ran", "\xff\n\x00")
	there.want(t, "elsewhere", "\xff\n\x00")
}

// Whatever else stands under a key, of a later version perhaps, is replaced.
func TestForeignRecordIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	kv, err := w.js.KeyValue(t.Context(), bucket)
	if err != nil {
		t.Fatal(err)
	}
	for _, foreign := range []string{"foreign", "{}", `{"state":"pending","token":"x"}`, `{"state":"resting","token":"x","lease":3600}`} {
		if _, err := kv.PutString(t.Context(), "k.now", foreign); err != nil {
			t.Fatal(err)
		}
		if v, err, _ := w.g[0].DoContext(t.Context(), "k", returns("v")); v != "v" || err != nil {
			t.Errorf("over %q: %q, %v, want v", foreign, v, err)
		}
	}
	wantStats(t, "it", w.g[0], fleet.Stats{Loads: 4})
}
