// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight"
	"example.com/singleflight/internal/cachetest"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/jellydator/ttlcache/v3"
	"github.com/maypok86/otter/v2"
	xsync "golang.org/x/sync/singleflight"
)

type intCache = singleflight.Cache[int, int]

// intCaches lists the caches of main, with the types that cachetest needs.
var intCaches = []struct {
	name string
	open func() (cache intCache, stop func())
}{
	{"golang-lru", newLRU[int, int]},
	{"golang-lru/expirable", newExpirable[int, int]},
	{"otter", newOtter[int, int]},
	{"ristretto", newRistretto[int, int]},
	{"ttlcache", newTTLCache[int, int]},
}

// each runs test over each cache, in real time, and checks that the cache
// leaves no goroutine behind.
func each(t *testing.T, test func(t *testing.T, cache intCache)) {
	for _, c := range intCaches {
		t.Run(c.name, func(t *testing.T) {
			before := runtime.NumGoroutine()
			cache, stop := c.open()
			test(t, cache)
			stop()
			for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("%d goroutines, %d before the cache was opened", runtime.NumGoroutine(), before)
				}
			}
		})
	}
}

// inBubble is like each, but in a synctest bubble, which fails if a goroutine is left.
func inBubble(t *testing.T, test func(t *testing.T, cache intCache)) {
	for _, c := range intCaches {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache, stop := c.open()
				defer stop()
				test(t, cache)
			})
		})
	}
}

func pick[T any](long, short T) T {
	if testing.Short() {
		return short
	}
	return long
}

// The program prints two loads for four thousand reads.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")[1:]
	for i, c := range caches {
		if got, want := strings.Fields(lines[i]), []string{c.name, "4000", "2", "Grace"}; !slices.Equal(got, want) {
			t.Errorf("run printed %q, want %q", got, want)
		}
	}
}

// A write overtakes a load that has already read the old user. A read after the
// write returns the new user, both before and after the old load has ended.
func TestWriteOvertakesLoad(t *testing.T) {
	for _, c := range caches {
		for _, later := range []time.Duration{0, time.Second} {
			t.Run(c.name+" "+later.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					cache, stop := c.open()
					defer stop()
					s := &service{db: newDatabase(), cache: cache}
					write := func(name string) {
						if err := s.write(t.Context(), User{42, name}); err != nil {
							t.Error(err)
						}
					}
					wantName := func(what, want string) {
						if user, err := s.read(t.Context(), 42); user.Name != want || err != nil {
							t.Errorf("%s: %v, %v, want %s", what, user, err, want)
						}
					}
					write("Ada")
					go wantName("a read before the write", "Ada")
					synctest.Wait()
					write("Grace")
					time.Sleep(later)
					wantName("a read after the write", "Grace")
				})
			})
		}
	}
}

// The adapter does what the Cache interface asks for.
func TestAdapter(t *testing.T) {
	each(t, func(t *testing.T, cache intCache) {
		want := func(when string, v int, ok bool) {
			t.Helper()
			if gotV, gotOK := cache.Get(1); gotV != v || gotOK != ok {
				t.Errorf("%s: Get(1) = %v, %v, want %v, %v", when, gotV, gotOK, v, ok)
			}
		}
		want("at first", 0, false)
		cache.Delete(1)
		cache.Set(1, 10)
		cache.Set(2, 20)
		want("after Set(1, 10)", 10, true)
		cache.Set(1, 11)
		want("after Set(1, 11)", 11, true)
		cache.Delete(1)
		want("after Delete(1)", 0, false)
		if v, ok := cache.Get(2); v != 20 || !ok {
			t.Errorf("after Delete(1): Get(2) = %v, %v, want 20, true", v, ok)
		}
	})
}

// A hit allocates nothing.
func TestHitAllocatesNothing(t *testing.T) {
	if raceEnabled() {
		t.Skip("the race detector allocates")
	}
	t.Run("int64", func(t *testing.T) {
		testHit(t, int64(42), []opener[int64]{
			newLRU[int64, User], newExpirable[int64, User], newOtter[int64, User], newRistretto[int64, User], newTTLCache[int64, User],
		})
	})
	t.Run("string", func(t *testing.T) {
		testHit(t, strings.Repeat("k", 200), []opener[string]{
			newLRU[string, User], newExpirable[string, User], newOtter[string, User], newRistretto[string, User], newTTLCache[string, User],
		})
	})
}

type opener[K comparable] func() (cache singleflight.Cache[K, User], stop func())

func testHit[K comparable](t *testing.T, key K, open []opener[K]) {
	for i, c := range caches {
		t.Run(c.name, func(t *testing.T) {
			cache, stop := open[i]()
			defer stop()
			var users singleflight.Group[K, User]
			load := func(context.Context) (User, error) { return User{42, "Ada"}, nil }
			ctx := t.Context()
			hit := func() {
				if v, err, _ := users.Fill(ctx, cache, key, load); v.Name != "Ada" || err != nil {
					t.Errorf("Fill = %v, %v", v, err)
				}
			}
			hit()
			if n := testing.AllocsPerRun(1000, hit); n != 0 {
				t.Errorf("a hit: %v allocations, want 0", n)
			}
			if n := users.Stats().Executions; n != 1 {
				t.Errorf("%d executions, want 1: they were not hits", n)
			}
		})
	}
}

func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// Once Invalidate has returned, no value that is older than the write is read, is
// in the cache, or comes into it.
func TestNothingOld(t *testing.T) {
	t.Run("bubble", func(t *testing.T) {
		inBubble(t, func(t *testing.T, cache intCache) {
			wantNothingOld(t, cachetest.Slow(cache), pick(60*time.Second, 10*time.Second))
		})
	})
	t.Run("real time", func(t *testing.T) {
		each(t, func(t *testing.T, cache intCache) {
			wantNothingOld(t, cache, pick(time.Second, 200*time.Millisecond))
		})
	})
	t.Run("real time, slow", func(t *testing.T) {
		each(t, func(t *testing.T, cache intCache) {
			wantNothingOld(t, cachetest.Slow(cache), pick(time.Second, 200*time.Millisecond))
		})
	})
}

func wantNothingOld(t *testing.T, cache intCache, d time.Duration) {
	t.Helper()
	var g singleflight.Group[int, int]
	r := cachetest.Run(1, d, cachetest.Fill(&g, cache))
	if t.Logf("%+v", r); r.Old > 0 || r.Writes == 0 || r.Hits == 0 || r.Left == 0 {
		t.Errorf("%+v, want nothing old, and writes, hits and readers who left", r)
	}
	waitIdle(t, &g)
}

// The control of TestNothingOld: a read-through cache that is written by hand with
// DoContext finds old values, with each of the caches.
func TestOldByHand(t *testing.T) {
	t.Run("bubble", func(t *testing.T) {
		inBubble(t, func(t *testing.T, cache intCache) {
			var g singleflight.Group[int, int]
			r := cachetest.Run(1, pick(60*time.Second, 10*time.Second), cachetest.ByHand(&g, cachetest.Slow(cache)))
			if t.Logf("%+v", r); r.Old == 0 {
				t.Error("want something old, or TestNothingOld proves nothing")
			}
		})
	})
	t.Run("real time", func(t *testing.T) {
		each(t, func(t *testing.T, cache intCache) {
			var g singleflight.Group[int, int]
			wantOld(t, func() cachetest.Store { return cachetest.ByHand(&g, cache) })
		})
	})
}

// wantOld runs until an old value is found, for at most half a minute.
func wantOld(t *testing.T, store func() cachetest.Store) {
	t.Helper()
	for seed := range uint64(60) {
		r := cachetest.Run(seed, 500*time.Millisecond, store())
		if r.Old > 0 {
			t.Logf("%+v", r)
			return
		}
	}
	t.Error("nothing old, or TestNothingOld proves nothing")
}

func waitIdle(t *testing.T, g *singleflight.Group[int, int]) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); g.Stats().Running > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("loads are still running: %+v", g.Stats())
		}
	}
}

// The callbacks that may call Forget do so here, for each entry that is evicted
// from a cache of two entries for three keys.
func TestCallbackForgets(t *testing.T) {
	for name, open := range map[string]func(forget func(key int)) intCache{
		"otter OnDeletion": func(forget func(key int)) intCache {
			return Otter[int, int]{otter.Must(&otter.Options[int, int]{
				MaximumSize: 2,
				OnDeletion:  func(e otter.DeletionEvent[int, int]) { forget(e.Key) },
			})}
		},
		"ttlcache OnEviction": func(forget func(key int)) intCache {
			c := ttlcache.New(ttlcache.WithCapacity[int, int](2))
			c.OnEviction(func(_ context.Context, _ ttlcache.EvictionReason, item *ttlcache.Item[int, int]) { forget(item.Key()) })
			return TTLCache[int, int]{c}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var g singleflight.Group[int, int]
				var forgets atomic.Int64
				cache := open(func(key int) {
					g.Forget(key)
					forgets.Add(1)
				})
				r := cachetest.Run(1, 10*time.Second, cachetest.Fill(&g, cachetest.Slow(cache)))
				if t.Logf("%d forgets by the callback, %+v", forgets.Load(), r); r.Old > 0 || r.Writes == 0 || forgets.Load() < 100 {
					t.Errorf("%d forgets by the callback, %+v, want nothing old", forgets.Load(), r)
				}
			})
		})
	}
}

// Ristretto without Wait.

// A waiting is a Ristretto that waits in another method, or in none, and leaves
// the cost of a value to the cost function.
type waiting struct {
	*ristretto.Cache[int, int]
	inSet, inDelete bool
}

func (c *waiting) Set(key, value int) {
	if c.Cache.Set(key, value, 0); c.inSet {
		c.Wait()
	}
}

func (c *waiting) Delete(key int) {
	if c.Del(key); c.inDelete {
		c.Wait()
	}
}

// TestRistrettoNeedsWait lets ristretto's queue continue step by step, with an old
// value in it. Without Wait, that value comes into the cache after Invalidate has
// returned, and a Fill that begins then gets it. Wait in Set or in Delete prevents
// that.
func TestRistrettoNeedsWait(t *testing.T) {
	for _, tt := range []struct {
		name            string
		inSet, inDelete bool
		wantOld         bool
	}{
		{name: "no Wait", wantOld: true},
		{name: "Wait in Set", inSet: true},
		{name: "Wait in Delete", inDelete: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				step := make(chan struct{}) // lets the queue continue to its next value
				c, err := ristretto.NewCache(&ristretto.Config[int, int]{
					NumCounters: 1000, MaxCost: 1000, BufferItems: 64, IgnoreInternalCost: true,
					Cost: func(int) int64 { <-step; return 1 },
				})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				cache := &waiting{c, tt.inSet, tt.inDelete}
				var g singleflight.Group[int, int]
				fill := func(key, value int) int {
					v, err, _ := g.Fill(t.Context(), cache, key, func(context.Context) (int, error) { return value, nil })
					if err != nil {
						t.Error(err)
					}
					return v
				}
				const user = 2
				for key := range 4 { // 0 and 1 stop the queue before user's value, and 3 after it
					go fill(key, 10)
					synctest.Wait()
				}
				invalidated := false
				go func() { g.Invalidate(cache, user); invalidated = true }()
				synctest.Wait()
				old := false
				for range 4 {
					if _, found := c.Get(user); found && invalidated {
						old = fill(user, 20) == 10
					}
					step <- struct{}{}
					synctest.Wait()
				}
				close(step)
				synctest.Wait()
				if old != tt.wantOld {
					t.Errorf("a Fill after Invalidate got the old value: %v, want %v", old, tt.wantOld)
				}
				if _, found := c.Get(user); found || !invalidated {
					t.Errorf("at the end, the old value is in the cache: %v, and Invalidate has returned: %v; want false, true", found, invalidated)
				}
			})
		})
	}
}

// The loaders of the caches themselves.

// otter's own Get and Invalidate keep what Fill and Invalidate promise.
func TestOttersOwnLoaderKeepsNothingOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := newOtter[int, int]()
		defer stop()
		own := c.(Otter[int, int]).cache
		r := cachetest.Run(1, pick(60*time.Second, 10*time.Second), cachetest.Store{
			Cache: c,
			Read: func(ctx context.Context, key int, load func(context.Context) (int, error)) (int, error) {
				return own.Get(ctx, key, otter.LoaderFunc[int, int](func(ctx context.Context, _ int) (int, error) { return load(ctx) }))
			},
			Written: func(key int) { own.Invalidate(key) },
			Forget:  func(int) {},
		})
		if t.Logf("%+v", r); r.Old > 0 || r.Writes == 0 {
			t.Errorf("%+v, want nothing old", r)
		}
	})
}

// In otter's Get, a load runs on its caller's goroutine and ends with its
// caller's context. If clients give up before it has ended, each of them starts
// it again. With Fill, one load serves the clients that come back.
func TestOttersOwnLoaderEndsWithItsCaller(t *testing.T) {
	const tries = 5
	retry := func(t *testing.T, read func(ctx context.Context, load func(context.Context) (int, error)) (int, error)) (loads int64, served bool) {
		var n atomic.Int64
		for range tries {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			_, err := read(ctx, func(ctx context.Context) (int, error) {
				n.Add(1)
				select {
				case <-time.After(120 * time.Millisecond):
					return 1, nil
				case <-ctx.Done():
					return 0, ctx.Err()
				}
			})
			cancel()
			if served = err == nil; served {
				break
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v, want %v", err, context.DeadlineExceeded)
			}
		}
		return n.Load(), served
	}
	synctest.Test(t, func(t *testing.T) {
		c, stop := newOtter[int, int]()
		defer stop()
		own := c.(Otter[int, int]).cache
		loads, served := retry(t, func(ctx context.Context, load func(context.Context) (int, error)) (int, error) {
			return own.Get(ctx, 1, otter.LoaderFunc[int, int](func(ctx context.Context, _ int) (int, error) { return load(ctx) }))
		})
		if loads != tries || served {
			t.Errorf("otter's Get: %d loads, served %v; want %d, false", loads, served, tries)
		}
		var g singleflight.Group[int, int]
		loads, served = retry(t, func(ctx context.Context, load func(context.Context) (int, error)) (int, error) {
			v, err, _ := g.Fill(ctx, c, 1, load)
			return v, err
		})
		if loads != 1 || !served {
			t.Errorf("Fill: %d loads, served %v; want 1, true", loads, served)
		}
	})
}

// ttlcache's own loader, which suppresses duplicates with x/sync's Group, stores a
// value that a write has overtaken.
func TestTTLCachesOwnLoaderKeepsOldValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := newTTLCache[int, int]()
		defer stop()
		own := c.(TTLCache[int, int]).cache
		var group xsync.Group
		r := cachetest.Run(1, pick(60*time.Second, 10*time.Second), cachetest.Store{
			Cache: c,
			Read: func(ctx context.Context, key int, load func(context.Context) (int, error)) (int, error) {
				loader := ttlcache.LoaderFunc[int, int](func(c *ttlcache.Cache[int, int], key int) *ttlcache.Item[int, int] {
					v, err := load(context.WithoutCancel(ctx))
					if err != nil {
						return nil
					}
					return c.Set(key, v, ttlcache.DefaultTTL)
				})
				item := own.Get(key, ttlcache.WithLoader(ttlcache.NewSuppressedLoader(loader, &group)))
				if item == nil {
					return 0, errors.New("not loaded")
				}
				return item.Value(), nil
			},
			Written: func(key int) { own.Delete(key) },
			Forget:  func(int) {},
		})
		if t.Logf("%+v", r); r.Old == 0 {
			t.Error("nothing old: ttlcache's own loader has got better than the README says")
		}
	})
}
