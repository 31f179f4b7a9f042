// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package bench measures DoContext beside resenje.org/singleflight, which
// also lets callers leave. It is a module of its own to keep that one out of
// the library's go.mod.
//
//	go test -C bench -bench . -count 10
package bench

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/singleflight"
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
	for _, i := range impls {
		for name, ctx := range map[string]context.Context{"cancellable": b.Context(), "Background": context.Background()} {
			b.Run(fmt.Sprintf("ctx=%s/impl=%s", name, i.name), func(b *testing.B) {
				b.ReportAllocs()
				do := i.new(func() user { return alice })
				for b.Loop() {
					do(ctx, "user:42")
				}
			})
		}
	}
}

// The time from the load's end until the last of the waiters has its result.
func BenchmarkRelease(b *testing.B) {
	const waiters = 10_000
	for _, i := range impls {
		b.Run(fmt.Sprintf("waiters=%d/impl=%s", waiters, i.name), func(b *testing.B) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var took []time.Duration
			for b.Loop() {
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
				took = append(took, time.Since(ended))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2])/waiters, "ns/caller")
			b.ReportMetric(0, "ns/op")
		})
	}
}
