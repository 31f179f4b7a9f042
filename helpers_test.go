// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"errors"
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

// TestMain runs the tests, which must leave no goroutine behind. In a process
// that a test in panic_test.go has started, it runs one of the programs there.
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
	if code == 0 && !goroutinesEnd(before) {
		fmt.Fprintf(os.Stderr, "after the tests: got %d goroutines, want %d as before:\n", runtime.NumGoroutine(), before)
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		code = 1
	}
	os.Exit(code)
}

// pick returns short with -short, and long otherwise.
func pick(long, short int) int {
	if testing.Short() {
		return short
	}
	return long
}

// Both types.

// A group is what Group and ShardedGroup have in common. Each promise is
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

// bubble runs a test on a new Group and on a new ShardedGroup, each in a
// synctest bubble. There, synctest.Wait returns when all calls wait, and a
// goroutine that is left behind fails the test.
func bubble[K comparable, V any](t *testing.T, test func(t *testing.T, g group[K, V])) {
	both(t, func(t *testing.T, g group[K, V]) {
		synctest.Test(t, func(t *testing.T) { test(t, g) })
	})
}

// Calls in the background.

// A caller is a call that runs on a goroutine of its own, and how it ended.
// In a bubble, its fields can be read after synctest.Wait.
type caller[V any] struct {
	over   atomic.Bool // set last
	v      V
	err    error
	shared bool
	panic  any
	exited bool // by runtime.Goexit
}

// start starts a call.
func start[V any](call func() (V, error, bool)) *caller[V] {
	c := new(caller[V])
	go func() {
		returned := false
		defer func() {
			c.panic = recover()
			c.exited = !returned && c.panic == nil
			c.over.Store(true)
		}()
		c.v, c.err, c.shared = call()
		returned = true
	}()
	return c
}

func startDo[K comparable, V any](g group[K, V], key K, fn func() (V, error)) *caller[V] {
	return start(func() (V, error, bool) { return g.Do(key, fn) })
}

func startContext[K comparable, V any](ctx context.Context, g group[K, V], key K, fn func(context.Context) (V, error)) *caller[V] {
	return start(func() (V, error, bool) { return g.DoContext(ctx, key, fn) })
}

func startFill[K comparable, V any](ctx context.Context, g group[K, V], cache singleflight.Cache[K, V], key K, load func(context.Context) (V, error)) *caller[V] {
	return start(func() (V, error, bool) { return g.Fill(ctx, cache, key, load) })
}

// receive starts to receive from a channel that DoChan has returned.
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
		t.Errorf("%s is still waiting, want %v, %v, %v", name, v, err, shared)
	case c.panic != nil || c.exited:
		t.Errorf("%s: got panic %v, Goexit %v, want %v, %v, %v", name, c.panic, c.exited, v, err, shared)
	case any(c.v) != any(v) || c.err != err || c.shared != shared:
		t.Errorf("%s = %v, %v, %v, want %v, %v, %v", name, c.v, c.err, c.shared, v, err, shared)
	}
}

// waiting checks that the call has not ended.
func (c *caller[V]) waiting(t *testing.T, name string) {
	t.Helper()
	if c.over.Load() {
		t.Errorf("%s = %v, %v, %v (panic %v, Goexit %v), want it to wait", name, c.v, c.err, c.shared, c.panic, c.exited)
	}
}

// mustPanic returns the value that call panics with.
func mustPanic(t *testing.T, name string, call func()) (v any) {
	t.Helper()
	defer func() {
		v = recover()
		if v == nil {
			t.Errorf("%s returned, want a panic", name)
		}
	}()
	call()
	return nil
}

// Stats.

func wantStats[K comparable, V any](t *testing.T, g group[K, V], want singleflight.Stats) {
	t.Helper()
	if got := g.Stats(); got != want {
		t.Errorf("Stats() = %+v, want %+v", got, want)
	}
}

// idle checks that no fn runs and that no flight can be joined.
func idle[K comparable, V any](t *testing.T, g group[K, V]) {
	t.Helper()
	if s := g.Stats(); s.InFlight != 0 || s.Running != 0 {
		t.Errorf("Stats() = %+v, want InFlight 0, Running 0", s)
	}
}

// Functions to call.

var errBroken = errors.New("broken")

// value returns a fn that returns v.
func value[V any](v V) func() (V, error) { return func() (V, error) { return v, nil } }

// after returns a fn that returns v when c is closed.
func after[V any](c <-chan struct{}, v V) func() (V, error) {
	return func() (V, error) { <-c; return v, nil }
}

// withCtx turns a fn for Do into one for DoContext that ignores its context.
func withCtx[V any](fn func() (V, error)) func(context.Context) (V, error) {
	return func(context.Context) (V, error) { return fn() }
}

// untilDone is a fn that ends when its context is done.
func untilDone(ctx context.Context) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// counted returns a load that adds 1 to n, and returns v when release is
// closed.
func counted[V any](n *atomic.Int64, release <-chan struct{}, v V) func(context.Context) (V, error) {
	return func(context.Context) (V, error) { n.Add(1); <-release; return v, nil }
}

// explode panics. Tests look for its name in stacks.
//
//go:noinline
func explode(v any) { panic(v) }

// explodes returns a fn that panics with v.
func explodes(v any) func() (int, error) {
	return func() (int, error) { explode(v); return 42, nil }
}

// Values and keys.

type user struct {
	ID   int
	Name string
}

var alice = user{1, "alice"}

type bigKey [200]byte

// Caches.

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

// A nothing is a cache that keeps nothing.
type nothing[K comparable, V any] struct{}

func (nothing[K, V]) Get(K) (v V, ok bool) { return v, false }
func (nothing[K, V]) Set(K, V)             {}
func (nothing[K, V]) Delete(K)             {}

// A twoWords is a cache whose type takes two words, as one does that holds a
// pointer and a lifetime.
type twoWords[K comparable, V any] struct {
	cache *mapCache[K, V]
	ttl   time.Duration
}

func (c *twoWords[K, V]) Get(key K) (V, bool) { return c.cache.Get(key) }
func (c *twoWords[K, V]) Set(key K, v V)      { c.cache.Set(key, v) }
func (c *twoWords[K, V]) Delete(key K)        { c.cache.Delete(key) }

// A spyCache counts the calls of its methods, and calls hooks, which may wait
// or panic.
type spyCache[K comparable, V any] struct {
	mapCache[K, V]
	gets, sets, deletes atomic.Int64

	onGet    func(n int64) // after the nth Get has looked
	onSet    func()        // before Set stores
	onDelete func()        // before Delete deletes
}

func newSpy[K comparable, V any]() *spyCache[K, V] {
	return &spyCache[K, V]{
		mapCache: mapCache[K, V]{m: make(map[K]V)},
		onGet:    func(int64) {},
		onSet:    func() {},
		onDelete: func() {},
	}
}

func (c *spyCache[K, V]) Get(key K) (V, bool) {
	n := c.gets.Add(1)
	v, ok := c.mapCache.Get(key)
	c.onGet(n)
	return v, ok
}

func (c *spyCache[K, V]) Set(key K, v V) {
	c.sets.Add(1)
	c.onSet()
	c.mapCache.Set(key, v)
}

func (c *spyCache[K, V]) Delete(key K) {
	c.deletes.Add(1)
	c.onDelete()
	c.mapCache.Delete(key)
}

// want checks what the cache holds for "k", where -1 stands for nothing, and
// how often Set was called.
func (c *spyCache[K, V]) want(t *testing.T, when string, v any, sets int64) {
	t.Helper()
	var key any = "k"
	got, ok := c.mapCache.Get(key.(K))
	if v == -1 && ok || v != -1 && any(got) != v || c.sets.Load() != sets {
		t.Errorf("%s: Get = %v, %v after %d Sets, want %v (-1 is nothing) after %d", when, got, ok, c.sets.Load(), v, sets)
	}
}

// Contexts.

type ctxKey struct{}

// A doneWithoutErr is a context that breaks its contract: it is done, and its
// Err is nil.
type doneWithoutErr struct{ context.Context }

func (doneWithoutErr) Err() error { return nil }
func (doneWithoutErr) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// A leavingContext is not done when DoContext asks it first, so that the call
// joins, and done as soon as DoContext waits.
type leavingContext struct {
	context.Context
	done  chan struct{}
	asked bool
}

func (c *leavingContext) Value(any) any { return nil }
func (c *leavingContext) Err() error {
	if !c.asked {
		c.asked = true
		return nil
	}
	return context.Canceled
}
func (c *leavingContext) Done() <-chan struct{} { close(c.done); return c.done }

// A countingContext counts what is registered with it. It has a Done channel
// of its own, so that package context does not register with its parent.
type countingContext struct {
	context.Context
	done       chan struct{}
	registered atomic.Int64
}

func (c *countingContext) Done() <-chan struct{} { return c.done }

func (c *countingContext) AfterFunc(f func()) (stop func() bool) {
	c.registered.Add(1)
	return context.AfterFunc(c.Context, f)
}

// Real time, goroutines and memory.

// eventually waits until done reports true. It reports false if that takes
// longer than a minute.
func eventually(done func() bool) bool {
	for deadline := time.Now().Add(time.Minute); !done(); runtime.Gosched() {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// until waits until done reports true, and panics if that takes longer than a
// minute.
func until(done func() bool) {
	if !eventually(done) {
		panic("waited for a minute")
	}
}

// waitIdle waits for fns that all callers have left, and checks that g is idle.
func waitIdle[K comparable, V any](t *testing.T, g group[K, V]) {
	t.Helper()
	eventually(func() bool { return g.Stats().Running == 0 })
	idle(t, g)
}

// goroutinesEnd waits until there are no more goroutines than before, and
// reports whether that came to be.
func goroutinesEnd(before int) bool {
	return eventually(func() bool { return runtime.NumGoroutine() <= before })
}

// goid returns the number of the calling goroutine.
func goid() string {
	buf := make([]byte, 64)
	return strings.Fields(string(buf[:runtime.Stack(buf, false)]))[1]
}

// heap returns how many bytes the objects that can be reached take.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
