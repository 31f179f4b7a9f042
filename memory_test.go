// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"weak"

	"example.com/singleflight"
)

// Reuse of records.

// The record of a flight that somebody waited for is not used again: its
// channel is closed, and whoever waits on it would not wait.
func TestSharedRecordIsNotReused(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		joins := map[string]func(key string) *caller[int]{
			"Do":     func(key string) *caller[int] { return startDo(g, key, nil) },
			"DoChan": func(key string) *caller[int] { return receive(g.DoChan(key, nil)) },
			"DoContext": func(key string) *caller[int] {
				return startContext(t.Context(), g, key, nil)
			},
		}
		for i := range 10 {
			for name, join := range joins {
				release := make(chan struct{})
				a := startDo(g, "k", after(release, i))
				synctest.Wait()
				b := join("k")
				synctest.Wait()
				b.waiting(t, name+" joining a flight")
				close(release)
				synctest.Wait()
				a.want(t, "Do", i, nil, true)
				b.want(t, name, i, nil, true)

				// and the next, which nobody joins, is not said to be shared
				if v, err, shared := g.Do("k", value(-i)); v != -i || err != nil || shared {
					t.Errorf("Do = %v, %v, %v, want %v, nil, false", v, err, shared, -i)
				}
			}
		}
	})
}

// A caller that joined and left has seen the record.
func TestRecordOfAFlightThatWasLeftIsNotReused(t *testing.T) {
	bubble(t, func(t *testing.T, g group[string, int]) {
		for i := range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			release := make(chan struct{})
			a := startDo(g, "k", after(release, i))
			synctest.Wait()
			b := startContext(ctx, g, "k", nil)
			synctest.Wait()
			cancel()
			synctest.Wait()
			b.want(t, "DoContext", 0, context.Canceled, false)
			close(release)
			synctest.Wait()
			a.want(t, "Do", i, nil, false)
		}
	})
}

// No value, error or shared flag crosses from one key's flight to another's,
// with Forget in the mix. Under -race, a record that is used again while
// somebody reads it shows too.
func TestNothingCrossesBetweenKeys(t *testing.T) {
	both(t, func(t *testing.T, g group[int, *int]) {
		const keys = 5
		errs := make([]error, keys)
		for key := range errs {
			errs[key] = fmt.Errorf("error of key %d", key)
		}
		fn := func(key int) func() (*int, error) {
			return func() (*int, error) {
				if key%2 == 0 {
					runtime.Gosched()
				}
				return &key, errs[key]
			}
		}
		var wg sync.WaitGroup
		for w := range 12 {
			wg.Go(func() {
				for i := range pick(5000, 500) {
					key := (i*7 + w) % keys
					var v *int
					var err error
					switch (i + w) % 5 {
					case 0:
						r := <-g.DoChan(key, fn(key))
						v, err = r.Val, r.Err
					case 1:
						v, err, _ = g.DoContext(t.Context(), key, withCtx(fn(key)))
					case 2:
						g.Forget(key)
						fallthrough
					default:
						v, err, _ = g.Do(key, fn(key))
					}
					if v == nil || *v != key || err != errs[key] {
						t.Errorf("call for %d got %v, %v", key, v, err)
					}
				}
			})
		}
		wg.Wait()
		idle(t, g)
	})
}

// A value that went to one caller is said to be unshared, and one that went
// to several, shared: each caller's is a copy of its own to count.
func TestSharedIsTrueIfAndOnlyIfSeveralGotTheValue(t *testing.T) {
	both(t, func(t *testing.T, g group[int, *atomic.Int64]) {
		type got struct {
			users  *atomic.Int64
			shared bool
		}
		results := make([][]got, 8)
		var wg sync.WaitGroup
		for w := range results {
			wg.Go(func() {
				for i := range pick(3000, 300) {
					v, _, shared := g.Do(i%2, func() (*atomic.Int64, error) {
						if i%3 == 0 {
							runtime.Gosched()
						}
						return new(atomic.Int64), nil
					})
					v.Add(1)
					results[w] = append(results[w], got{v, shared})
				}
			})
		}
		wg.Wait()
		for _, r := range results {
			for _, r := range r {
				if n := r.users.Load(); r.shared != (n > 1) {
					t.Fatalf("shared = %v for a value that %d callers got", r.shared, n)
				}
			}
		}
	})
}

// What is kept.

// After a burst, the memory of 100,000 keys is given back while a few flights
// are still up, and those can be joined.
func TestBurstIsGivenBack(t *testing.T) {
	var g singleflight.Group[int, int] // a ShardedGroup is many of them
	const keys, up = 100_000, 10
	burst, late := make(chan struct{}), make(chan struct{})
	var first, last sync.WaitGroup
	warmUp(keys)
	before := heap()
	for key := range keys {
		release, wg := burst, &first
		if key < up {
			release, wg = late, &last
		}
		wg.Go(func() { g.Do(key, after(release, key)) })
	}
	until(func() bool { return g.Stats().InFlight == keys })
	during := heap()
	close(burst)
	first.Wait()
	kept := heap() - before
	if kept > 64<<10 || during-before < 1<<20 {
		t.Errorf("the Group keeps %d bytes after a burst that took %d, want at most %d", kept, during-before, 64<<10)
	}

	for key := range up {
		last.Go(func() {
			if v, err, shared := g.Do(key, nil); v != key || err != nil || !shared {
				t.Errorf("Do(%d), joining = %v, %v, %v, want %d, nil, true", key, v, err, shared, key)
			}
		})
	}
	until(func() bool { return g.Stats().Joined == up })
	close(late)
	last.Wait()
	if got, want := g.Stats(), (singleflight.Stats{Executions: keys, Joined: up}); got != want {
		t.Errorf("Stats() = %+v, want %+v", got, want)
	}
	runtime.KeepAlive(&g)
}

// warmUp makes the runtime keep what it keeps of n goroutines.
func warmUp(n int) {
	var wg sync.WaitGroup
	release := make(chan struct{})
	for range n {
		wg.Go(func() { <-release })
	}
	close(release)
	wg.Wait()
}

// An idle Group keeps 16 KiB of records at most, and of large values none,
// however many flights there were at once.
func TestIdleGroupIsSmall(t *testing.T) {
	t.Run("small values", func(t *testing.T) { testIdle[int](t, 64<<10) })
	t.Run("60,000-byte values", func(t *testing.T) { testIdle[[60_000]byte](t, 48<<10) })
}

func testIdle[V any](t *testing.T, limit int64) {
	var g singleflight.Group[int, V]
	const flights = 1500 // whose records would take 200 KiB, and with a large V 90 MB
	warmUp(2 * flights)
	before := heap()
	for range 3 {
		var in, out sync.WaitGroup
		release := make(chan struct{})
		for key := range flights {
			in.Add(1)
			out.Go(func() {
				g.Do(key, func() (v V, err error) { in.Done(); <-release; return v, nil })
			})
		}
		in.Wait()
		close(release)
		out.Wait()
	}
	if kept := heap() - before; kept > limit {
		t.Errorf("an idle Group keeps %d bytes after %d flights at once, want at most %d", kept, flights, limit)
	}
	runtime.KeepAlive(&g)
}

// A value, an error, a key, a fn and a context can be collected as soon as
// the callers drop them.
func TestNothingIsReachableAfterwards(t *testing.T) {
	both(t, func(t *testing.T, g group[*[64]byte, *[128]byte]) {
		var watched []func() string
		watch := func(what string, alive func() bool) {
			watched = append(watched, func() string {
				if alive() {
					return what
				}
				return ""
			})
		}
		call := func(how string, do func(key *[64]byte, fn func() (*[128]byte, error)) (*[128]byte, error)) {
			key, val, load := new([64]byte), new([128]byte), new([256]byte)
			err := &bigError{}
			v, e := do(key, func() (*[128]byte, error) { load[0]++; return val, err })
			if v != val || e != err {
				t.Fatalf("%s = %p, %v", how, v, e)
			}
			k, w, l, r := weak.Make(key), weak.Make(val), weak.Make(load), weak.Make(err)
			watch(how+": key", func() bool { return k.Value() != nil })
			watch(how+": value", func() bool { return w.Value() != nil })
			watch(how+": fn", func() bool { return l.Value() != nil })
			watch(how+": error", func() bool { return r.Value() != nil })
		}
		withValue := func(ctx context.Context, how string) context.Context {
			mine := new([512]byte)
			p := weak.Make(mine)
			watch(how+": context", func() bool { return p.Value() != nil })
			return context.WithValue(ctx, ctxKey{}, mine)
		}
		shared := func(key *[64]byte, fn func() (*[128]byte, error), start func(fn func() (*[128]byte, error)) *caller[*[128]byte]) (*[128]byte, error) {
			joined := g.Stats().Joined
			c := start(func() (*[128]byte, error) {
				until(func() bool { return g.Stats().Joined > joined })
				return fn()
			})
			until(func() bool { return g.Stats().InFlight > 0 })
			v, err, _ := g.Do(key, nil)
			until(c.over.Load)
			return v, err
		}
		call("Do", func(key *[64]byte, fn func() (*[128]byte, error)) (*[128]byte, error) {
			v, err, _ := g.Do(key, fn)
			return v, err
		})
		call("Do, shared", func(key *[64]byte, fn func() (*[128]byte, error)) (*[128]byte, error) {
			return shared(key, fn, func(fn func() (*[128]byte, error)) *caller[*[128]byte] { return startDo(g, key, fn) })
		})
		call("DoChan", func(key *[64]byte, fn func() (*[128]byte, error)) (*[128]byte, error) {
			r := <-g.DoChan(key, fn)
			return r.Val, r.Err
		})
		call("DoContext", func(key *[64]byte, fn func() (*[128]byte, error)) (*[128]byte, error) {
			v, err, _ := g.DoContext(withValue(t.Context(), "DoContext"), key, withCtx(fn))
			return v, err
		})
		call("DoContext, shared", func(key *[64]byte, fn func() (*[128]byte, error)) (*[128]byte, error) {
			return shared(key, fn, func(fn func() (*[128]byte, error)) *caller[*[128]byte] {
				return startContext(withValue(t.Context(), "DoContext, shared"), g, key, withCtx(fn))
			})
		})
		call("DoContext(Background)", func(key *[64]byte, fn func() (*[128]byte, error)) (*[128]byte, error) {
			v, err, _ := g.DoContext(withValue(context.Background(), "DoContext(Background)"), key, withCtx(fn))
			return v, err
		})
		call("Forget", func(key *[64]byte, fn func() (*[128]byte, error)) (*[128]byte, error) {
			v, err, _ := g.Do(key, func() (*[128]byte, error) { g.Forget(key); return fn() })
			return v, err
		})
		if g.Stats().Running != 0 {
			t.Fatal("a flight is still up")
		}
		var alive []string
		for range 100 { // goroutines that have just ended may need a moment
			runtime.GC()
			alive = nil
			for _, w := range watched {
				if what := w(); what != "" {
					alive = append(alive, what)
				}
			}
			if alive == nil {
				break
			}
			runtime.Gosched()
		}
		for _, what := range alive {
			t.Errorf("%s can still be reached", what)
		}
		runtime.KeepAlive(g)
	})
}

type bigError struct{ _ [256]byte }

func (*bigError) Error() string { return "big" }

// Allocations.

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	fn := func() (user, error) { return alice, nil }
	fnCtx := func(context.Context) (user, error) { return alice, nil }
	var g singleflight.Group[string, user]
	var s singleflight.ShardedGroup[string, user]
	var s128 singleflight.ShardedGroup[[16]uint64, user]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, test := range []struct {
		name string
		call func()
		max  float64
	}{
		{"Group.Do", func() { g.Do("k", fn) }, 0},
		{"ShardedGroup.Do", func() { s.Do("k", fn) }, 0},
		{"ShardedGroup.Do with a key of 128 bytes", func() { s128.Do([16]uint64{1, 2, 3}, fn) }, 0},
		{"Group.DoContext(Background)", func() { g.DoContext(context.Background(), "k", fnCtx) }, 0},
		{"ShardedGroup.DoContext(Background)", func() { s.DoContext(context.Background(), "k", fnCtx) }, 0},
		{"Group.DoContext", func() { g.DoContext(ctx, "k", fnCtx) }, 6},
		{"Group.DoChan", func() { <-g.DoChan("k", fn) }, 5},
		{"Group.Forget", func() { g.Forget("k") }, 0},
		{"Group.Stats", func() { g.Stats() }, 0},
	} {
		if got := testing.AllocsPerRun(1000, test.call); got > test.max {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.max)
		}
	}
	// The record of a flight that failed, and that forgot itself, is used again too.
	boom := errors.New("boom")
	if got := testing.AllocsPerRun(1000, func() {
		g.Do("k", func() (user, error) { g.Forget("k"); return alice, boom })
	}); got > 0 {
		t.Errorf("Do with Forget inside fn: %v allocations, want 0", got)
	}
}
