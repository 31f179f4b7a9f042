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
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/singleflight"
	"example.com/singleflight/internal/floor"
	"example.com/singleflight/internal/inturn"
	xsync "golang.org/x/sync/singleflight"
)

// An impl is one way to share a load. The function new makes a group, and
// returns a function that makes a call on it.
type impl struct {
	name string
	new  func(load func() user) (do func(key string))
}

func (i impl) String() string { return i.name }

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
		g := floor.New[string, user]()
		return func(key string) { g.Do(key, func() (user, error) { return load(), nil }) }
	}}
	implContext = impl{"Group.DoContext", func(load func() user) func(string) {
		var g singleflight.Group[string, user]
		ctx, cancel := context.WithCancel(context.Background())
		_ = cancel // is never called: the group goes with the benchmark
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
	// This is how a caller waits on a context with x/sync.
	implXSyncSelect = impl{"xsync.DoChan+select", func(load func() user) func(string) {
		var g xsync.Group
		ctx, cancel := context.WithCancel(context.Background())
		_ = cancel // is never called: the group goes with the benchmark
		return func(key string) {
			select {
			case <-g.DoChan(key, func() (any, error) { return load(), nil }):
			case <-ctx.Done():
			}
		}
	}}
	implFill = impl{"Group.Fill", func(load func() user) func(string) {
		var g singleflight.Group[string, user]
		ctx, cancel := context.WithCancel(context.Background())
		_ = cancel // is never called: the group goes with the benchmark
		return func(key string) {
			g.Fill(ctx, nothing[string, user]{}, key, func(context.Context) (user, error) { return load(), nil })
		}
	}}
)

func loadAlice() user { return alice }

// solo times calls of one goroutine for one key.
func solo(calls int) func(i impl) (time.Duration, int) {
	return func(i impl) (time.Duration, int) {
		do := i.new(loadAlice)
		began := time.Now()
		for range calls {
			do("user:42")
		}
		return time.Since(began), calls
	}
}

// parallel times calls of several goroutines, each for the keys that its next
// returns.
func parallel(goroutines, calls int, load func() user, next func(goroutine int) func() string) func(i impl) (time.Duration, int) {
	return func(i impl) (time.Duration, int) {
		do := i.new(load)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for n := range goroutines {
			key := next(n)
			wg.Go(func() {
				<-start
				for range calls {
					do(key())
				}
			})
		}
		began := time.Now()
		close(start)
		wg.Wait()
		return time.Since(began), goroutines * calls
	}
}

// distinct returns keys in turn, which no other goroutine uses.
func distinct(goroutine int) func() string {
	keys, n := makeKeys(goroutine, 64), 0
	return func() string { n++; return keys[n%len(keys)] }
}

func makeKeys(owner, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("user:%d:%d", owner, i)
	}
	return keys
}

// yieldAlice is a load during which other goroutines run.
func yieldAlice() user { runtime.Gosched(); return alice }

func BenchmarkDo(b *testing.B) {
	impls := []impl{implGroup, implSharded, implBackground, implXSync, implFloor}
	b.Run("solo", func(b *testing.B) { inturn.Run(b, impls, solo(100_000)) })
	b.Run("distinct", func(b *testing.B) { inturn.Run(b, impls, parallel(2, 50_000, loadAlice, distinct)) })

	impls = []impl{implGroup, implSharded, implXSync}
	b.Run("hot", func(b *testing.B) {
		inturn.Run(b, impls, parallel(16, 2_000, yieldAlice, func(int) func() string {
			return func() string { return "user:42" }
		}))
	})
	b.Run("zipf", func(b *testing.B) { // some keys are far more frequent than others
		keys := makeKeys(0, 10_000)
		inturn.Run(b, impls, parallel(16, 2_000, yieldAlice, func(goroutine int) func() string {
			zipf := rand.NewZipf(rand.New(rand.NewPCG(uint64(goroutine), 1)), 1.2, 1, uint64(len(keys)-1))
			return func() string { return keys[zipf.Uint64()] }
		}))
	})
}

func BenchmarkDoChan(b *testing.B) {
	inturn.Run(b, []impl{implChan, implXSyncChan}, solo(5_000))
}

func BenchmarkDoContext(b *testing.B) {
	inturn.Run(b, []impl{implContext, implFill, implXSyncSelect}, solo(5_000))
}

// gather starts n calls, and returns when they wait for a flight, which must
// not end meanwhile. x/sync does not tell how many calls wait, so gather
// sleeps a moment after the last has begun.
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

// fanIn times how long it takes from the end of a load until the last of its
// callers has the result.
func fanIn(callers int) func(i impl) (time.Duration, int) {
	return func(i impl) (time.Duration, int) {
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
		var left atomic.Int64
		var took time.Duration
		left.Store(int64(callers))
		gather(&wg, callers, func(int) {
			do("user:42")
			if left.Add(-1) == 0 {
				took = time.Since(ended)
			}
		})
		close(release)
		wg.Wait()
		return took, callers
	}
}

func BenchmarkFanIn(b *testing.B) {
	for _, callers := range []int{100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("waiters=%d", callers), func(b *testing.B) {
			inturn.Run(b, []impl{implGroup, implContext, implXSync}, fanIn(callers))
		})
	}
}

// lockWait returns for how long goroutines have waited for the mutex of a
// group. That is in the runtime's mutex profile, where the time is attributed
// to the function that held the mutex.
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

// BenchmarkLockWait measures for how long a goroutine waits for the mutex. The
// goroutine makes calls for another key while the waiters of a hot key are
// released.
func BenchmarkLockWait(b *testing.B) {
	defer runtime.SetMutexProfileFraction(runtime.SetMutexProfileFraction(1))
	for _, waiters := range []int{1024, 16384} {
		b.Run(fmt.Sprintf("waiters=%d", waiters), func(b *testing.B) {
			inturn.Run(b, []impl{implGroup, implContext, implXSync}, func(i impl) (time.Duration, int) {
				return lockWaitBehind(i, waiters), 1
			})
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

// BenchmarkInFlight measures how the cost of a call grows with the flights
// that are up.
func BenchmarkInFlight(b *testing.B) {
	for _, others := range []int{0, 2, 7, 8, 1_000, 100_000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			keys := makeKeys(0, 1024) // in turn, so that no one place of the map stays in a cache
			impls := []impl{implGroup, implXSync, implFloor}
			calls := make(map[string]func(key string))
			var wg sync.WaitGroup
			release := make(chan struct{})
			for _, i := range impls {
				var filling atomic.Bool
				do := i.new(func() user {
					if filling.Load() {
						<-release
					}
					return alice
				})
				filling.Store(true)
				gather(&wg, others, func(i int) { do(fmt.Sprintf("other:%d", i)) })
				filling.Store(false)
				calls[i.name] = do
			}
			runtime.GC()
			inturn.Run(b, impls, func(i impl) (time.Duration, int) {
				do := calls[i.name]
				began := time.Now()
				for n := range 50_000 {
					do(keys[n%len(keys)])
				}
				return time.Since(began), 50_000
			})
			close(release)
			wg.Wait()
		})
	}
}

// BenchmarkShards measures what shards save, by the number of processors.
func BenchmarkShards(b *testing.B) {
	for _, procs := range []int{1, 2, 4, 8, 16} {
		b.Run(fmt.Sprintf("procs=%d", procs), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			inturn.Run(b, []impl{implGroup, implSharded, implXSync}, parallel(procs, 50_000, loadAlice, distinct))
		})
	}
}
