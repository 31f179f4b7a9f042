// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/singleflight"
	xsync "golang.org/x/sync/singleflight"
)

type user struct {
	ID   int
	Name string
}

var alice = user{1, "alice"}

// A floor is what no Group on a mutex and a map can do without: lock, look
// up and insert, unlock, run fn, lock, delete, unlock. It joins nobody.
type floor[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]*V
	up *V // what every entry points to
}

func newFloor[K comparable, V any]() *floor[K, V] {
	return &floor[K, V]{m: make(map[K]*V), up: new(V)}
}

func (f *floor[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	f.mu.Lock()
	if _, ok := f.m[key]; !ok {
		f.m[key] = f.up
	}
	f.mu.Unlock()
	v, err = fn()
	f.mu.Lock()
	delete(f.m, key)
	f.mu.Unlock()
	return v, err, false
}

// An impl makes a new group, and returns a call on it with the given load.
type impl struct {
	name string
	new  func(load func() user) (do func(key string))
}

var (
	implGroup = impl{"Group", func(load func() user) func(string) {
		var g singleflight.Group[string, user]
		return func(key string) { g.Do(key, func() (user, error) { return load(), nil }) }
	}}
	implSharded = impl{"ShardedGroup", func(load func() user) func(string) {
		var g singleflight.ShardedGroup[string, user]
		return func(key string) { g.Do(key, func() (user, error) { return load(), nil }) }
	}}
	implXSync = impl{"xsync", func(load func() user) func(string) {
		var g xsync.Group
		return func(key string) { g.Do(key, func() (any, error) { return load(), nil }) }
	}}
	implFloor = impl{"floor", func(load func() user) func(string) {
		g := newFloor[string, user]()
		return func(key string) { g.Do(key, func() (user, error) { return load(), nil }) }
	}}
	implContext = impl{"Group.DoContext", func(load func() user) func(string) {
		var g singleflight.Group[string, user]
		ctx, cancel := context.WithCancel(context.Background())
		_ = cancel // never: the group goes with the benchmark
		return func(key string) {
			g.DoContext(ctx, key, func(context.Context) (user, error) { return load(), nil })
		}
	}}
	implBackground = impl{"Group.DoContext(Background)", func(load func() user) func(string) {
		var g singleflight.Group[string, user]
		return func(key string) {
			g.DoContext(context.Background(), key, func(context.Context) (user, error) { return load(), nil })
		}
	}}
	implChan = impl{"Group.DoChan", func(load func() user) func(string) {
		var g singleflight.Group[string, user]
		return func(key string) { <-g.DoChan(key, func() (user, error) { return load(), nil }) }
	}}
	implXSyncChan = impl{"xsync.DoChan", func(load func() user) func(string) {
		var g xsync.Group
		return func(key string) { <-g.DoChan(key, func() (any, error) { return load(), nil }) }
	}}
	// How one waits on a context with x/sync.
	implXSyncSelect = impl{"xsync.DoChan+select", func(load func() user) func(string) {
		var g xsync.Group
		ctx, cancel := context.WithCancel(context.Background())
		_ = cancel
		return func(key string) {
			select {
			case <-g.DoChan(key, func() (any, error) { return load(), nil }):
			case <-ctx.Done():
			}
		}
	}}
)

// each runs a benchmark for every impl, as name/impl=....
func each(b *testing.B, name string, impls []impl, run func(b *testing.B, i impl)) {
	for _, i := range impls {
		b.Run(strings.TrimPrefix(name+"/impl="+i.name, "/"), func(b *testing.B) {
			b.ReportAllocs()
			run(b, i)
		})
	}
}

func loadAlice() user { return alice }

func solo(b *testing.B, i impl) {
	do := i.new(loadAlice)
	for b.Loop() {
		do("user:42")
	}
}

// distinct has every goroutine call for keys of its own.
func distinct(b *testing.B, i impl) {
	do := i.new(loadAlice)
	var next atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		keys := makeKeys(int(next.Add(1)), 64)
		for n := 0; pb.Next(); n++ {
			do(keys[n%len(keys)])
		}
	})
}

func makeKeys(owner, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("user:%d:%d", owner, i)
	}
	return keys
}

func BenchmarkDo(b *testing.B) {
	impls := []impl{implGroup, implSharded, implXSync, implFloor}
	each(b, "solo", impls, solo)
	each(b, "distinct", impls, distinct)

	// One key for all, and a load during which others may come.
	each(b, "hot", impls[:3], func(b *testing.B, i impl) {
		var runs atomic.Int64
		do := i.new(func() user { runs.Add(1); runtime.Gosched(); return alice })
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				do("user:42")
			}
		})
		b.ReportMetric(float64(runs.Load())/float64(b.N), "executions/op")
	})

	// Some keys are asked for far more often than others.
	each(b, "zipf", impls[:3], func(b *testing.B, i impl) {
		var runs atomic.Int64
		do := i.new(func() user { runs.Add(1); runtime.Gosched(); return alice })
		keys := makeKeys(0, 10_000)
		var seed atomic.Uint64
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			zipf := rand.NewZipf(rand.New(rand.NewPCG(seed.Add(1), 1)), 1.2, 1, uint64(len(keys)-1))
			for pb.Next() {
				do(keys[zipf.Uint64()])
			}
		})
		b.ReportMetric(float64(runs.Load())/float64(b.N), "executions/op")
	})
}

func BenchmarkDoChan(b *testing.B) {
	each(b, "", []impl{implChan, implXSyncChan}, solo)
}

func BenchmarkDoContext(b *testing.B) {
	each(b, "", []impl{implContext, implXSyncSelect, implBackground, implGroup}, solo)
}

// gather starts n callers and returns when they wait for the flight, which
// must not end meanwhile: when the last has set out, and a moment later.
func gather(wg *sync.WaitGroup, n int, call func(i int)) {
	var out atomic.Int64
	for i := range n {
		wg.Go(func() {
			out.Add(1)
			call(i)
		})
	}
	until(func() bool { return out.Load() == int64(n) })
	time.Sleep(5 * time.Millisecond)
}

// fanIn has callers wait for one load and returns how long it took from the
// load's end until the last of them had its result.
func fanIn(i impl, callers int) time.Duration {
	var ended time.Time
	release := make(chan struct{})
	do := i.new(func() user {
		if ended.IsZero() {
			<-release
			ended = time.Now()
		}
		return alice
	})
	var wg sync.WaitGroup
	gather(&wg, callers, func(int) { do("user:42") })
	close(release)
	wg.Wait()
	return time.Since(ended)
}

func BenchmarkFanIn(b *testing.B) {
	for _, callers := range []int{16, 1024, 16384} {
		each(b, fmt.Sprintf("waiters=%d", callers), []impl{implGroup, implContext, implXSync}, func(b *testing.B, i impl) {
			var took []time.Duration
			for b.Loop() {
				took = append(took, fanIn(i, callers))
			}
			b.ReportMetric(float64(median(took))/float64(callers), "ns/caller")
			b.ReportMetric(0, "ns/op") // says more of how the callers got there
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// lockWait returns for how long goroutines have waited for the mutex of a
// group, as the runtime's mutex profile has it: the time is attributed to
// the function that held it.
func lockWait() time.Duration {
	var profile bytes.Buffer
	pprof.Lookup("mutex").WriteTo(&profile, 1)
	perSecond, total, cycles := 0.0, 0.0, 0.0
	for lines := bufio.NewScanner(&profile); lines.Scan(); {
		line := lines.Text()
		if rate, ok := strings.CutPrefix(line, "cycles/second="); ok {
			perSecond, _ = strconv.ParseFloat(rate, 64)
		} else if n, _, ok := strings.Cut(line, " "); ok && strings.Contains(line, " @ ") {
			cycles, _ = strconv.ParseFloat(n, 64)
		} else if strings.Contains(line, "singleflight.(*") {
			total += cycles
			cycles = 0 // once for each stack
		}
	}
	return time.Duration(total / perSecond * 1e9)
}

// While the waiters of a hot key are released, another goroutine calls for
// other keys. How long does it wait for the mutex?
func BenchmarkLockWait(b *testing.B) {
	defer runtime.SetMutexProfileFraction(runtime.SetMutexProfileFraction(1))
	for _, waiters := range []int{1024, 16384} {
		each(b, fmt.Sprintf("waiters=%d", waiters), []impl{implGroup, implContext, implXSync}, func(b *testing.B, i impl) {
			var waits []time.Duration
			for b.Loop() {
				waits = append(waits, lockWaitBehind(i, waiters))
			}
			b.ReportMetric(float64(median(waits)), "wait-ns")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func lockWaitBehind(i impl, waiters int) time.Duration {
	var hot atomic.Bool
	release := make(chan struct{})
	do := i.new(func() user {
		if hot.CompareAndSwap(true, false) {
			<-release
		}
		return alice
	})
	hot.Store(true)
	var wg, other sync.WaitGroup
	gather(&wg, waiters, func(int) { do("user:42") })

	waited := lockWait()
	var stop atomic.Bool
	var calls atomic.Int64
	other.Go(func() {
		for ; !stop.Load(); calls.Add(1) {
			do("user:43")
		}
	})
	until(func() bool { return calls.Load() > 100 })
	close(release)
	wg.Wait()
	stop.Store(true)
	other.Wait()
	return lockWait() - waited
}

// How the cost of a call grows with the flights that are up.
func BenchmarkInFlight(b *testing.B) {
	for _, keys := range []int{1, 1024, 131072} {
		for _, i := range []impl{implGroup, implXSync, implFloor} {
			b.Run(fmt.Sprintf("keys=%d/impl=%s", keys, i.name), func(b *testing.B) {
				b.ReportAllocs()
				others := keys - 1
				release := make(chan struct{})
				var filling atomic.Bool
				do := i.new(func() user {
					if filling.Load() {
						<-release
					}
					return alice
				})
				filling.Store(true)
				var wg sync.WaitGroup
				gather(&wg, others, func(i int) { do(fmt.Sprintf("other:%d", i)) })
				filling.Store(false)

				mine := makeKeys(0, 1024) // in turn, so that no one place of the map is hot
				runtime.GC()
				n := 0
				for b.Loop() {
					do(mine[n%len(mine)])
					n++
				}
				close(release)
				wg.Wait()
			})
		}
	}
}

// What shards are worth, by the number of processors.
func BenchmarkShards(b *testing.B) {
	for _, procs := range []int{1, 2, 4, 8, 16} {
		each(b, fmt.Sprintf("procs=%d", procs), []impl{implGroup, implSharded, implXSync}, func(b *testing.B, i impl) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			distinct(b, i)
		})
	}
}
