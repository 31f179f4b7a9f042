// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import "context"

// A Cache is what [Group.Fill] reads from and stores in, and what
// [Group.Invalidate] deletes from. For most caches, an adapter of a few lines
// implements it. If its type is a pointer, or a struct of one pointer, a hit
// does not allocate.
//
// The methods are called concurrently, even for the same key. They must be
// quick and work in memory. They must not call the Group, nor wait for a
// goroutine that calls its Forget, ForgetUnshared or Invalidate for any key,
// because those methods wait for a Set that is running. The same is true of
// callbacks for evicted entries.
type Cache[K comparable, V any] interface {
	// Get returns the value stored for key, and whether there is one.
	Get(key K) (V, bool)
	// Set stores value for key. The cache may drop it at any time, even at
	// once.
	Set(key K, value V)
	// Delete removes the value stored for key, if there is one. Once Delete
	// has returned, Get must not return a value whose Set had returned before
	// Delete was called.
	Delete(key K)
}

// Fill returns the value for key from cache. If it is not there, Fill calls
// load, stores the value in cache, and returns it. Concurrent calls that miss
// share one load. Call [Group.Invalidate] after each write.
//
// A hit is returned even if ctx is done. It joins no flight and reports shared
// false. A miss with a ctx that is done returns ctx.Err(). Any other miss
// joins the flight for key or starts one. The flight calls Get again, because
// an earlier flight may just have stored the value. If Get finds none, the
// flight calls load. If load returns a nil error and the flight has not been
// forgotten, the flight then calls Set. Only after that do its callers return.
// The flight runs on a new goroutine, or on the caller's own if ctx can never
// be done.
//
// Each caller stops waiting when its own ctx is done, as in [Group.DoContext].
// But the load is for the cache: after all callers have left, it continues,
// can still be joined, and fills the cache. Its context has the values of the
// first caller's ctx, but no deadline, and is never canceled. On the caller's
// own goroutine, load gets ctx itself. This has consequences:
//
//   - Clients that hang up do not end a load. Give it a time limit, inside
//     load, that covers everything it waits for, including a connection from a
//     pool. A load that hangs without a limit keeps its key until it is
//     forgotten.
//   - A load may end, and call Set, after the last request. If it must end at
//     shutdown, let it also observe the context of the application. Close the
//     cache once no more calls are made and Stats().Running is 0.
//   - If no caller is left, a panic in load crashes the program. A load that
//     panics and an impatient client are then enough to end a service. To
//     prevent that, recover inside load and return an error.
//   - The value may be in the cache, whatever shared says. Never modify it.
//
// A panic or Goexit in Set, or in the second Get, counts as one in load. The
// first Get runs in the caller, and so does its panic.
//
// Use each cache with one Group only, and each Group with one cache. Fill may
// be used together with the other methods on one key. A call that joins a
// flight of Fill gets the value that is in the cache, and cannot abandon the
// flight. A Fill that joins a flight of another method does not store the
// value, and counts as a caller of DoContext. If a key is not equal to itself,
// its value is loaded and not stored.
//
// The cache must belong to this process. If several processes share it,
// Invalidate does not reach the loads of the others: store a version with each
// value, or use package fleet.
//
// Fill panics if ctx is nil.
func (g *Group[K, V]) Fill(ctx context.Context, cache Cache[K, V], key K, load func(context.Context) (V, error)) (v V, err error, shared bool) {
	v, self, ok := hit(ctx, cache, key)
	if ok {
		return v, nil, false
	}
	return g.miss(ctx, cache, key, self, load)
}

// hit is the part of Fill that needs no flight. It returns what is in the
// cache, and whether key equals itself.
func hit[K comparable, V any](ctx context.Context, cache Cache[K, V], key K) (v V, self, ok bool) {
	if ctx == nil {
		panic("singleflight: nil Context")
	}
	self = reflexive(key)
	v, ok = cache.Get(key)
	return v, self, ok
}

// miss is the rest of Fill. It is a separate function because key escapes to
// the heap here, which a hit should not pay for.
func (g *Group[K, V]) miss(ctx context.Context, cache Cache[K, V], key K, self bool, load func(context.Context) (V, error)) (v V, err error, shared bool) {
	if err := ctx.Err(); err != nil {
		return v, err, false
	}
	stop := ctx.Done()
	c, starts := g.enter(key, self, stop == nil)
	if starts {
		if stop == nil {
			var out outcome[V]
			g.doCall(c, func() (V, error) { return g.fill(ctx, cache, c, load) }, &out)
			return out.deliver()
		}
		c.spawned = true
		go func() {
			var out outcome[V]
			g.doCall(c, func() (V, error) { return g.fill(context.WithoutCancel(ctx), cache, c, load) }, &out)
		}()
	}
	return g.wait(ctx, stop, c)
}

// fill is the fn of a flight that Fill started.
func (g *Group[K, V]) fill(ctx context.Context, cache Cache[K, V], c *call[K, V], load func(context.Context) (V, error)) (V, error) {
	// It is tempting to store this value again, to keep it in the cache, but an
	// Invalidate may be about to delete it.
	if v, ok := cache.Get(c.key); ok {
		return v, nil
	}
	v, err := load(ctx)
	if err == nil && g.mayStore(c) {
		cache.Set(c.key, v)
	}
	return v, err
}

// mayStore reports whether c's flight can still be joined. If so, a Forget of
// its key does not return from now on until the flight has ended.
func (g *Group[K, V]) mayStore(c *call[K, V]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.storing = c.place != nowhere
	return c.storing
}

// Invalidate deletes the value for key from cache, and keeps loads that began
// earlier from storing their values. Call it after each write to the data that
// load reads; with a transaction, after the commit. Call it even if the write
// returned an error, because the data may have changed. If a write changes the
// data of several keys, call it for each of them.
//
// A [Group.Fill] that begins after Invalidate has returned never returns a
// value that was loaded before Invalidate was called. Such a value is no
// longer in the cache and is not stored later. Calls that began earlier may
// still return it. Invalidate cannot change what load reads: if that is a
// replica that lags, a load after the write may still read the old value.
//
// If Fill has begun to store a value for key, Invalidate waits for that flight
// to end.
func (g *Group[K, V]) Invalidate(cache Cache[K, V], key K) {
	g.Forget(key) // Loads that may have read before the write will not store.
	cache.Delete(key)
	g.Forget(key) // A flight that began meanwhile may have found the old value.
}
