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

// This file is about memory: which records are used again, what a Group keeps,
// and what a call allocates.

// Reuse of records.

// The record of a flight that another call has joined is not used again. Its
// channel is closed, so that a caller of the next flight would not wait.
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

				// The next flight is not joined, so its result is not shared.
				if v, err, shared := g.Do("k", value(-i)); v != -i || err != nil || shared {
					t.Errorf("Do afterwards = %v, %v, %v, want %v, nil, false", v, err, shared, -i)
				}
			}
		}
	})
}

// A caller that joined and left may still read the record of the flight.
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

// No value and no error crosses from one key's flight to another's, while
// keys are forgotten too. With -race, the test fails also if a record is used
// again while a caller reads it.
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
						t.Errorf("call for key %d = %v, %v, want a pointer to %d, %v", key, v, err, key, errs[key])
					}
				}
			})
		}
		wg.Wait()
		idle(t, g)
	})
}

// Shared is true if and only if several callers got the value. Each caller
// counts itself in the value that it got.
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
					t.Fatalf("Do of a value that %d callers got: shared = %v, want %v", n, r.shared, n > 1)
				}
			}
		}
	})
}

// What a Group keeps.

// After a burst of flights, their memory is given back, even while more than a
// few of them stay up. Those can still be joined. The test measures the heap,
// because nothing else tells how much memory a map takes.
func TestBurstIsGivenBack(t *testing.T) {
	type key [128]byte
	makeKey := func(i int) (k key) { k[0], k[1], k[2] = byte(i), byte(i>>8), byte(i>>16); return k }
	keys := pick(100_000, 20_000)
	// keeps returns how much memory a Group takes after a burst, when stay of
	// its flights are left.
	keeps := func(stay int) (kept int64) {
		var g singleflight.Group[key, int]
		before := heap()
		var joiners sync.WaitGroup
		settle := func() {
			kept = heap() - before
			for i := range stay {
				joiners.Go(func() {
					if v, err, shared := g.Do(makeKey(i), nil); v != i || err != nil || !shared {
						t.Errorf("Do(%d) that joins = %v, %v, %v, want %d, nil, true", i, v, err, shared, i)
					}
				})
			}
			until(func() bool { return g.Stats().Joined == uint64(stay) })
		}
		// The fn of each flight makes the call that starts the next flight, so
		// that one goroutine is enough for all of them.
		var burst func(i int) int
		burst = func(i int) int {
			if i == keys {
				if n := g.Stats().InFlight; n != keys {
					t.Fatalf("Stats().InFlight = %d, want %d", n, keys)
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
		burst(0)
		if stay == 0 {
			settle()
		}
		joiners.Wait()
		return kept
	}
	none := keeps(0)
	some := keeps(300) - none
	t.Logf("after a burst of %d keys a Group keeps %d bytes, and %d more while 300 flights are left", keys, none, some)
	if none > 256<<10 {
		t.Errorf("after a burst of %d keys a Group keeps %d bytes, want at most %d", keys, none, 256<<10)
	}
	if some > 1<<20 {
		t.Errorf("after a burst of %d keys, 300 flights that are left take %d bytes, want at most %d", keys, some, 1<<20)
	}
}

// When the flights of a Group become many and few again, time after time, they
// seldom move to a new map: there are fewer moves than a seventh of the flights.
func TestMapIsReplacedSeldom(t *testing.T) {
	test := func(low, high int) {
		synctest.Test(t, func(t *testing.T) {
			var g singleflight.Group[int, int]
			var ends []chan struct{}
			flights, moves := 0, 0
			for range 5 {
				for len(ends) < high {
					end := make(chan struct{})
					g.DoChan(flights, after(end, 0))
					ends = append(ends, end)
					flights++
				}
				_, peak := g.Map()
				for len(ends) > low {
					close(ends[0])
					ends = ends[1:]
					synctest.Wait()
					if size, now := g.Map(); now < peak { // it is a new map
						peak = now
						moves += size
					}
				}
			}
			if moves > flights/7 {
				t.Errorf("%d to %d flights: got %d moves to a new map for %d flights, want at most a seventh", low, high, moves, flights)
			}
			if high > singleflight.Crowd && moves == 0 && low <= high/8 {
				t.Errorf("%d to %d flights: got no new map, want some", low, high)
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

// Flights move to the map when there are more than a few, and use it until
// there are none, so that a Group around the limit does not move them back
// and forth.
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
			if got, _ := g.Map(); got != size {
				t.Errorf("Map() = %d flights, want %d", got, size)
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
				startDo(group[int, int](g), i, nil) // joins
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

// When a flight ends, the others can still be joined, whether it was the
// first, the last or between.
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
					joins.waiting(t, fmt.Sprintf("Do(%d) of %d, when flight %d has ended", i, n, first))
					close(ends[i])
					synctest.Wait()
					joins.want(t, fmt.Sprintf("Do(%d) of %d, when flight %d has ended", i, n, first), i, nil, true)
				}
				idle(t, g)
			})
		}
	}
}

// An idle Group keeps at most 16 KiB of records, and none if the values are
// large, however many flights there were at once.
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
		t.Errorf("after %d flights at once, Spares() of a Group[int, %T] = %d records, %d bytes, want some: %v, and at most 16 KiB",
			flights, *new(V), n, bytes, keeps)
	}
}

// When a flight has ended and its callers have dropped the result, its key,
// value, error, fn and context can be collected.
func TestNothingIsReachableAfterwards(t *testing.T) {
	type key = [64]byte
	type val = [128]byte
	type fn = func() (*val, error)
	bubble(t, func(t *testing.T, g group[*key, *val]) {
		cache := nothing[*key, *val]{}
		visit := func(name string, start func(ctx context.Context, k *key, fn fn) *caller[*val], joined bool) map[string]func() bool {
			k, v, captured, carried, err := new(key), new(val), new([256]byte), new([512]byte), new(bigError)
			ctx := context.WithValue(t.Context(), ctxKey{}, carried)
			release := make(chan struct{})
			c := start(ctx, k, func() (*val, error) { <-release; captured[0]++; return v, err })
			synctest.Wait()
			if joined {
				startDo(g, k, nil)
				synctest.Wait()
			}
			close(release)
			synctest.Wait()
			c.want(t, name, v, err, joined)
			return map[string]func() bool{
				"key": reachable(k), "value": reachable(v), "error": reachable(err),
				"fn": reachable(captured), "context": reachable(carried),
			}
		}
		for name, start := range map[string]func(ctx context.Context, k *key, fn fn) *caller[*val]{
			"Do": func(_ context.Context, k *key, fn fn) *caller[*val] {
				return startDo(g, k, fn)
			},
			"Do with Forget inside fn": func(_ context.Context, k *key, fn fn) *caller[*val] {
				return startDo(g, k, func() (*val, error) { v, err := fn(); g.Forget(k); return v, err })
			},
			"DoChan": func(_ context.Context, k *key, fn fn) *caller[*val] {
				return receive(g.DoChan(k, fn))
			},
			"DoContext": func(ctx context.Context, k *key, fn fn) *caller[*val] {
				return startContext(ctx, g, k, withCtx(fn))
			},
			"DoContext(Background)": func(ctx context.Context, k *key, fn fn) *caller[*val] {
				return startContext(context.WithoutCancel(ctx), g, k, withCtx(fn))
			},
			"Fill": func(ctx context.Context, k *key, fn fn) *caller[*val] {
				return startFill(ctx, g, cache, k, withCtx(fn))
			},
			"Fill(Background)": func(ctx context.Context, k *key, fn fn) *caller[*val] {
				return startFill(context.WithoutCancel(ctx), g, cache, k, withCtx(fn))
			},
		} {
			for _, joined := range []bool{false, true} {
				watched := visit(name, start, joined)
				runtime.GC()
				for what, reachable := range watched {
					if reachable() {
						t.Errorf("after %s (joined by another call: %v) its %s can still be reached, want it collected", name, joined, what)
					}
				}
			}
		}
		runtime.KeepAlive(g)
	})
}

// reachable returns a function that reports whether p has not been collected.
func reachable[T any](p *T) func() bool {
	w := weak.Make(p)
	return func() bool { return w.Value() != nil }
}

type bigError struct{ _ [256]byte }

func (*bigError) Error() string { return "big" }

// The table holds no flight that has ended, also where flights moved from the
// few to the many.
func TestTableForgetsEndedFlights(t *testing.T) {
	for _, n := range []int{1, singleflight.Few, singleflight.Few + 1} {
		bubble(t, func(t *testing.T, g group[int, int]) {
			release := make(chan struct{})
			for i := range n {
				g.DoChan(i, after(release, i))
			}
			table := g.(interface{ Held() int })
			if got := table.Held(); got != n {
				t.Errorf("with %d flights the table holds %d records, want %d", n, got, n)
			}
			close(release)
			synctest.Wait()
			if got := table.Held(); got != 0 {
				t.Errorf("after %d flights the table holds %d records, want 0", n, got)
			}
		})
	}
}

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
			t.Errorf("%s: got %v allocations, want at most %v", test.name, got, test.max)
		}
	}
	// The record of a flight that failed and that forgot itself is used again
	// too.
	boom := errors.New("boom")
	if got := testing.AllocsPerRun(1000, func() {
		g.Do("k", func() (user, error) { g.Forget("k"); return alice, boom })
	}); got > 0 {
		t.Errorf("Do with Forget inside fn: got %v allocations, want 0", got)
	}
}
