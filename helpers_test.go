// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight"
)

// A group is what Group and ShardedGroup have in common: every promise is
// tested on both.
type group[K comparable, V any] interface {
	Do(key K, fn func() (V, error)) (V, error, bool)
	DoChan(key K, fn func() (V, error)) <-chan singleflight.Result[V]
	DoContext(ctx context.Context, key K, fn func(context.Context) (V, error)) (V, error, bool)
	Fill(ctx context.Context, cache singleflight.Cache[K, V], key K, load func(context.Context) (V, error)) (V, error, bool)
	Invalidate(cache singleflight.Cache[K, V], key K)
	Forget(key K)
	ForgetUnshared(key K) bool
	Stats() singleflight.Stats
}

// both runs a test on a new Group and on a new ShardedGroup, in real time.
func both[K comparable, V any](t *testing.T, test func(t *testing.T, g group[K, V])) {
	t.Run("Group", func(t *testing.T) { test(t, new(singleflight.Group[K, V])) })
	t.Run("ShardedGroup", func(t *testing.T) { test(t, new(singleflight.ShardedGroup[K, V])) })
}

// bubble runs a test on both in a synctest bubble each, where "all of them
// wait" is a state that can be reached rather than slept for. A goroutine
// left behind fails the test.
func bubble[K comparable, V any](t *testing.T, test func(t *testing.T, g group[K, V])) {
	both(t, func(t *testing.T, g group[K, V]) {
		synctest.Test(t, func(t *testing.T) { test(t, g) })
	})
}

// A caller is a call made on a goroutine of its own, and how it ended.
type caller[V any] struct {
	over   atomic.Bool
	v      V
	err    error
	shared bool
	panic  any
	exited bool // by Goexit
}

// start makes a call in the background. What became of it can be looked at
// after synctest.Wait.
func start[V any](call func() (V, error, bool)) *caller[V] {
	c := new(caller[V])
	go func() {
		returned := false
		defer func() {
			c.panic = recover()
			c.exited = !returned && c.panic == nil
			c.over.Store(true) // what is above can be read now
		}()
		c.v, c.err, c.shared = call()
		returned = true
	}()
	return c
}

// receive is start for a channel.
func receive[V any](ch <-chan singleflight.Result[V]) *caller[V] {
	return start(func() (V, error, bool) {
		r := <-ch
		return r.Val, r.Err, r.Shared
	})
}

// want checks that the call has returned v, err and shared.
func (c *caller[V]) want(t *testing.T, name string, v V, err error, shared bool) {
	t.Helper()
	switch {
	case !c.over.Load():
		t.Errorf("%s: still waiting, want %v, %v, %v", name, v, err, shared)
	case c.panic != nil || c.exited:
		t.Errorf("%s: panic %v, exited %v, want %v, %v, %v", name, c.panic, c.exited, v, err, shared)
	case any(c.v) != any(v) || c.err != err || c.shared != shared:
		t.Errorf("%s = %v, %v, %v, want %v, %v, %v", name, c.v, c.err, c.shared, v, err, shared)
	}
}

// waiting checks that the call has not ended.
func (c *caller[V]) waiting(t *testing.T, name string) {
	t.Helper()
	if c.over.Load() {
		t.Errorf("%s ended (%v, %v, %v, panic %v, exited %v), want it to wait", name, c.v, c.err, c.shared, c.panic, c.exited)
	}
}

func wantStats[K comparable, V any](t *testing.T, g group[K, V], want singleflight.Stats) {
	t.Helper()
	if got := g.Stats(); got != want {
		t.Errorf("Stats() = %+v, want %+v", got, want)
	}
}

// idle checks that g runs nothing and holds no key.
func idle[K comparable, V any](t *testing.T, g group[K, V]) {
	t.Helper()
	if s := g.Stats(); s.InFlight != 0 || s.Running != 0 {
		t.Errorf("Stats() = %+v, want InFlight and Running 0", s)
	}
}

// A mapCache is a cache that keeps everything.
type mapCache[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]V
}

func newCache[K comparable, V any]() *mapCache[K, V] {
	return &mapCache[K, V]{m: make(map[K]V)}
}

func (c *mapCache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.m[key]
	return v, ok
}

func (c *mapCache[K, V]) Set(key K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m[key] = v
}

func (c *mapCache[K, V]) Delete(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, key)
}

// value is a fn that returns v.
func value[V any](v V) func() (V, error) { return func() (V, error) { return v, nil } }

// after is a fn that returns v once c is closed.
func after[V any](c <-chan struct{}, v V) func() (V, error) {
	return func() (V, error) { <-c; return v, nil }
}

// withCtx turns a fn for Do into one for DoContext.
func withCtx[V any](fn func() (V, error)) func(context.Context) (V, error) {
	return func(context.Context) (V, error) { return fn() }
}

func mustPanic(t *testing.T, name string, call func()) (v any) {
	t.Helper()
	defer func() {
		if v = recover(); v == nil {
			t.Errorf("%s returned, want a panic", name)
		}
	}()
	call()
	return nil
}

// goid returns the number of the calling goroutine.
func goid() string {
	return strings.Fields(string(debugStack()))[1]
}

func debugStack() []byte {
	buf := make([]byte, 64)
	return buf[:runtime.Stack(buf, false)]
}

// TestMain runs the programs that are to crash (see panic_test.go), or the
// tests, which must leave no goroutine behind.
func TestMain(m *testing.M) {
	if name := os.Getenv(crashEnv); name != "" {
		program(name)
		os.Exit(0)
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	if flag.Lookup("test.fuzz").Value.String() != "" {
		os.Exit(code) // the fuzzer has goroutines of its own
	}
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before && code == 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines before the tests, %d after:\n", before, n)
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		code = 1
	}
	os.Exit(code)
}

func startDo[K comparable, V any](g group[K, V], key K, fn func() (V, error)) *caller[V] {
	return start(func() (V, error, bool) { return g.Do(key, fn) })
}

func startContext[K comparable, V any](ctx context.Context, g group[K, V], key K, fn func(context.Context) (V, error)) *caller[V] {
	return start(func() (V, error, bool) { return g.DoContext(ctx, key, fn) })
}

// untilDone is a fn that heeds its context and nothing else.
func untilDone(ctx context.Context) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// deaf is a fn that does not look at its context.
func deaf(release <-chan struct{}, v int) func(context.Context) (int, error) {
	return withCtx(after(release, v))
}

type ctxKey struct{}

// pick returns short with -short, and long otherwise.
func pick(long, short int) int {
	if testing.Short() {
		return short
	}
	return long
}

// waitIdle waits for abandoned fns to end.
func waitIdle[K comparable, V any](t *testing.T, g group[K, V]) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); g.Stats().Running > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			break
		}
	}
	idle(t, g)
}

// until waits in real time.
func until(done func() bool) {
	for deadline := time.Now().Add(time.Minute); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			panic("waited for a minute")
		}
	}
}

// heap returns the bytes of live objects.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
