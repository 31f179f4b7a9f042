// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package bench measures DoContext beside resenje.org/singleflight, which also lets
// callers leave. It is a module of its own, so that the go.mod of the library does
// not name that module.
//
//	go test -C bench -bench . -benchtime 30x
package bench

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/singleflight"
	"example.com/singleflight/internal/inturn"
	resenje "resenje.org/singleflight"
)

type user struct {
	ID   int
	Name string
}

var alice = user{1, "alice"}

// An impl makes a new group and returns a call on it.
type impl struct {
	name string
	new  func(load func() user) (do func(ctx context.Context, key string))
}

func (i impl) String() string { return i.name }

var impls = []impl{
	{"Group", func(load func() user) func(context.Context, string) {
		var g singleflight.Group[string, user]
		return func(ctx context.Context, key string) {
			g.DoContext(ctx, key, func(context.Context) (user, error) { return load(), nil })
		}
	}},
	{"resenje", func(load func() user) func(context.Context, string) {
		var g resenje.Group[string, user]
		return func(ctx context.Context, key string) {
			g.Do(ctx, key, func(context.Context) (user, error) { return load(), nil })
		}
	}},
}

func BenchmarkDoContext(b *testing.B) {
	for name, ctx := range map[string]context.Context{"cancelable": b.Context(), "Background": context.Background()} {
		b.Run("ctx="+name, func(b *testing.B) {
			inturn.Run(b, impls, func(i impl) (time.Duration, int) {
				const calls = 5_000
				do := i.new(func() user { return alice })
				began := time.Now()
				for range calls {
					do(ctx, "user:42")
				}
				return time.Since(began), calls
			})
		})
	}
}

// BenchmarkRelease measures the time from the end of the load until the last waiter
// has its result.
func BenchmarkRelease(b *testing.B) {
	const waiters = 10_000
	inturn.Run(b, impls, func(i impl) (time.Duration, int) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
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
		var out atomic.Int64
		for range waiters {
			wg.Go(func() {
				out.Add(1)
				do(ctx, "user:42")
			})
		}
		for out.Load() < waiters {
			runtime.Gosched()
		}
		time.Sleep(5 * time.Millisecond) // the last of them begins to wait
		close(release)
		wg.Wait()
		return time.Since(ended), waiters
	})
}
