// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"weak"

	"example.com/singleflight"
)

// Reuse of records.

// The record of a flight that somebody waited for is not used again: its
// channel is closed, so that a caller would not wait.
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

// After a burst of keys, its memory is given back, also while more than a few
// of its flights stay up; and those can be joined.
func TestBurstIsGivenBack(t *testing.T) {
	type key [128]byte
	makeKey := func(i int) (k key) { k[0], k[1], k[2] = byte(i), byte(i>>8), byte(i>>16); return k }
	keys := pick(100_000, 20_000)
	// keeps returns how much memory a Group takes after a burst of which stay
	// flights are still up.
	keeps := func(stay int) (kept int64) {
		var g singleflight.Group[key, int]
		before := heap()
		settle := func() {
			kept = heap() - before
			var joiners sync.WaitGroup
			for i := range stay {
				joiners.Go(func() {
					if v, err, shared := g.Do(makeKey(i), nil); v != i || err != nil || !shared {
						t.Errorf("Do(%d), joining = %v, %v, %v, want %d, nil, true", i, v, err, shared, i)
					}
				})
			}
			until(func() bool { return g.Stats().Joined == uint64(stay) })
			go joiners.Wait()
		}
		// Each flight starts the next, so that they take one goroutine.
		var burst func(i int) int
		burst = func(i int) int {
			if i == keys {
				if n := g.Stats().InFlight; n != keys {
					t.Fatalf("%d flights are up, want %d", n, keys)
				}
				return i
			}
			g.Do(makeKey(i), func() (int, error) {
				if burst(i+1) == stay+1 {
					settle()
				}
				return i, nil
			})
			return i
		}
		if burst(0); stay == 0 {
			settle()
		}
		until(func() bool { return g.Stats().Running == 0 })
		return kept
	}
	if none := keeps(0); none > 256<<10 {
		t.Errorf("after a burst of %d keys a Group keeps %d bytes, want at most %d", keys, none, 256<<10)
	} else if some := keeps(300); some-none > 1<<20 {
		t.Errorf("with 300 that stay it keeps %d bytes more, want at most %d", some-none, 1<<20)
	}
}

// A Group whose flights become many and few again, time after time, moves
// them to a new map seldom: fewer moves than a seventh of the flights.
func TestMapIsReplacedSeldom(t *testing.T) {
	test := func(low, high int) {
		synctest.Test(t, func(t *testing.T) {
			var g singleflight.Group[int, int]
			var ends []chan struct{}
			flights, moves := 0, 0
			var address uintptr
			for range 5 {
				for len(ends) < high {
					end := make(chan struct{})
					g.DoChan(flights, after(end, 0))
					ends = append(ends, end)
					flights++
				}
				address, _ = g.Map()
				for len(ends) > low {
					close(ends[0])
					ends = ends[1:]
					synctest.Wait()
					if now, size := g.Map(); now != address {
						address = now
						moves += size
					}
				}
			}
			if moves > flights/7 {
				t.Errorf("%d to %d flights: %d moved to a new map, of %d; want at most a seventh", low, high, moves, flights)
			}
			if high > singleflight.Crowd && moves == 0 && low <= high/8 {
				t.Errorf("%d to %d flights: the map was never replaced", low, high)
			}
			for _, end := range ends {
				close(end)
			}
		})
	}
	crowd := singleflight.Crowd + singleflight.Few + 1
	test(0, crowd)
	test(crowd/8-1, crowd)
	test(crowd/8+1, crowd)
	test(0, singleflight.Few+1)
	test(singleflight.Few-1, singleflight.Few+1)
}

// Flights are in the map from when there are more than a few until there are
// none, so that a Group around the limit does not move them back and forth.
func TestFewFlightsNeedNoMap(t *testing.T) {
	bubble(t, func(t *testing.T, sharded group[int, int]) {
		g, ok := sharded.(*singleflight.Group[int, int])
		if !ok {
			return // each shard is a Group
		}
		ends := make([]chan struct{}, singleflight.Few+1)
		var callers []*caller[int]
		start := func(i int) {
			ends[i] = make(chan struct{})
			callers = append(callers, startDo(group[int, int](g), i, after(ends[i], i)))
			synctest.Wait()
		}
		want := func(size int) {
			t.Helper()
			if _, got := g.Map(); got != size {
				t.Errorf("%d flights are in the map, want %d", got, size)
			}
		}
		for range 2 {
			callers = nil
			for i := range singleflight.Few {
				start(i)
			}
			want(0)
			start(singleflight.Few)
			want(singleflight.Few + 1)
			for i := range ends {
				startDo(group[int, int](g), i, nil) // each can be joined, wherever it is
			}
			synctest.Wait()
			for i, end := range ends {
				close(end)
				synctest.Wait()
				callers[i].want(t, "Do", i, nil, true)
				want(singleflight.Few - i)
			}
		}
	})
}

// A flight that ends leaves the others where they are found, whichever of
// them it is: first, last or between.
func TestFewFlightsEndInAnyOrder(t *testing.T) {
	for n := range singleflight.Few + 1 {
		for first := range n {
			bubble(t, func(t *testing.T, g group[int, int]) {
				var ends []chan struct{}
				for i := range n {
					ends = append(ends, make(chan struct{}))
					g.DoChan(i, after(ends[i], i))
				}
				close(ends[first])
				synctest.Wait()
				for i := range n {
					if i == first {
						continue
					}
					joins := startDo(g, i, value(-1))
					synctest.Wait()
					joins.waiting(t, "Do of a flight that is up")
					close(ends[i])
					synctest.Wait()
					joins.want(t, "Do of a flight that is up", i, nil, true)
				}
				idle(t, g)
			})
		}
	}
}

// An idle Group keeps 16 KiB of records at most, and none of large values,
// however many flights there were at once.
func TestIdleGroupIsSmall(t *testing.T) {
	testIdle[int](t, 1500, true)
	testIdle[[6000]byte](t, 20, true)
	testIdle[[60_000]byte](t, 20, false)
}

func testIdle[V any](t *testing.T, flights int, keeps bool) {
	t.Helper()
	var g singleflight.Group[int, V]
	for range 2 {
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
	if n, bytes := g.Spares(); (n > 0) != keeps || bytes > 16<<10 {
		t.Errorf("after %d flights at once an idle Group[int, %T] keeps %d records of %d bytes in all, want some: %v, and at most 16 KiB",
			flights, *new(V), n, bytes, keeps)
	}
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
		call("Fill", func(key *[64]byte, fn func() (*[128]byte, error)) (*[128]byte, error) {
			v, err, _ := g.Fill(withValue(t.Context(), "Fill"), nothing[*[64]byte, *[128]byte]{}, key, withCtx(fn))
			return v, err
		})
		call("Fill(Background)", func(key *[64]byte, fn func() (*[128]byte, error)) (*[128]byte, error) {
			v, err, _ := g.Fill(withValue(context.Background(), "Fill(Background)"), nothing[*[64]byte, *[128]byte]{}, key, withCtx(fn))
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

// The table forgets flights that have ended, also those that it moved from
// among the few to the many. Each is shared, so that its record is not one to
// use again, which holds nothing anyway.
func TestTableForgetsEndedFlights(t *testing.T) {
	for _, n := range []int{1, singleflight.Few, singleflight.Few + 1} {
		both(t, func(t *testing.T, g group[int, *[64]byte]) {
			values := make([]weak.Pointer[[64]byte], n)
			release := make(chan struct{})
			var wg sync.WaitGroup
			for i := range n {
				for range 2 {
					wg.Go(func() {
						g.Do(i, func() (*[64]byte, error) {
							<-release
							v := new([64]byte)
							values[i] = weak.Make(v)
							return v, nil
						})
					})
				}
			}
			until(func() bool { return g.Stats().Joined == uint64(n) })
			close(release)
			wg.Wait()
			alive := func(v weak.Pointer[[64]byte]) bool { return v.Value() != nil }
			for range 100 { // goroutines that have just ended may need a moment
				if runtime.GC(); !slices.ContainsFunc(values, alive) {
					break
				}
			}
			if slices.ContainsFunc(values, alive) {
				t.Errorf("after %d flights a value can still be reached", n)
			}
			runtime.KeepAlive(g)
		})
	}
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
