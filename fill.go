// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import "context"

// A Cache is what [Group.Fill] reads and fills, and [Group.Invalidate]
// deletes from. Most in-process caches need an adapter of a few lines; make
// its type a pointer or another one-word type, and a hit allocates nothing.
//
// The methods are called concurrently, also for the same key. They must be
// quick and in memory, and must not call Forget, ForgetUnshared or Invalidate
// of the Group for any key, nor wait for somebody who does: those wait for a
// Set that is running. In particular, a callback for evicted entries must not.
type Cache[K comparable, V any] interface {
	// Get returns the value that is stored for key, and whether there is one.
	Get(key K) (V, bool)
	// Set stores value for key. It may drop it at any time, also at once.
	Set(key K, value V)
	// Delete removes what is stored for key, if anything is. After it has
	// returned, Get does not find a value whose Set had returned before.
	Delete(key K)
}

// Fill returns the value for key from cache, or else calls load, stores its
// value in cache, and returns it. Concurrent calls that miss share one load.
// Use it for reading through a cache of this process, together with
// [Group.Invalidate] after each write:
//
//	user, err, _ := users.Fill(ctx, cache, id, func(ctx context.Context) (User, error) {
//		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
//		defer cancel()
//		return db.LoadUser(ctx, id)
//	})
//
// A hit touches no flight, and is returned even if ctx is done. A miss joins
// the flight for key or starts one, in which cache is asked once more, load is
// called, and Set is called if load returned a nil error and the flight has
// not been forgotten; then the callers are released. The flight runs on a new
// goroutine, or on the caller's own if ctx can never be done.
//
// Each caller waits on its own ctx, as in [Group.DoContext]: if it is done
// first, the results are the zero value, ctx.Err() and false. But the load is
// for the cache: it goes on when every caller has left, can still be joined,
// and fills the cache. Its context has the values of the first caller's ctx and
// no deadline, and is never canceled. So:
//
//   - Give load a time limit of its own, as above. A load that hangs holds its
//     key until it is forgotten, and clients that hang up do not end it.
//   - Let load heed the application's context too, if it must end at shutdown.
//   - Recover inside load if it may panic. A panic there, or in Get or Set
//     after the first Get, is one of fn: callers panic with a [*PanicError],
//     but where all of them have left, which impatient clients do, the program
//     crashes.
//
// Never modify a value: it may be in the cache, whatever shared says, which
// is false for a hit and for a load that nobody joined.
//
// Use one cache with one Group. Fill mixes with the other methods on one key:
// who joins a flight of Fill gets its value and cannot abandon it; a Fill that
// joins a flight of another method does not store the value, and counts there
// as a caller of DoContext. A key that is not equal to itself is loaded and not
// stored.
//
// Fill panics if ctx is nil.
func (g *Group[K, V]) Fill(ctx context.Context, cache Cache[K, V], key K, load func(context.Context) (V, error)) (v V, err error, shared bool) {
	if ctx == nil {
		panic("singleflight: nil Context")
	}
	self := reflexive(key)
	if v, ok := cache.Get(key); ok {
		return v, nil, false
	}
	return g.miss(ctx, cache, key, self, load)
}

// miss is the rest of Fill, in a function of its own because key escapes
// here: a hit does not pay for that.
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
		go g.doCallFill(context.WithoutCancel(ctx), cache, c, load)
	}
	return g.wait(ctx, stop, c)
}

// doCallFill has parameters for the reason that doCallContext has them.
func (g *Group[K, V]) doCallFill(ctx context.Context, cache Cache[K, V], c *call[K, V], load func(context.Context) (V, error)) {
	var out outcome[V]
	g.doCall(c, func() (V, error) { return g.fill(ctx, cache, c, load) }, &out)
}

// fill is the fn of a flight that Fill started.
func (g *Group[K, V]) fill(ctx context.Context, cache Cache[K, V], c *call[K, V], load func(context.Context) (V, error)) (V, error) {
	// A flight that ended since the first Get may have stored a value. It is
	// not stored again, because an Invalidate may be about to delete it.
	if v, ok := cache.Get(c.key); ok {
		return v, nil
	}
	v, err := load(ctx)
	if err == nil && g.mayStore(c) {
		cache.Set(c.key, v)
	}
	return v, err
}

// mayStore reports whether c's flight has not been forgotten. If so, it will
// not be until it ends: a Forget that comes later waits for that.
func (g *Group[K, V]) mayStore(c *call[K, V]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.storing = c.place != nowhere
	return c.storing
}

// Invalidate makes sure that no later Fill returns a value for key that was
// loaded before. Call it after each write of what key's load reads:
//
//	if err := db.SaveUser(ctx, user); err != nil {
//		return err
//	}
//	users.Invalidate(cache, user.ID)
//
// A [Group.Fill] that begins after Invalidate has returned gets nothing that
// was loaded before Invalidate was called; and nothing of that kind is in the
// cache, or will come into it. Callers that were waiting before still get what
// they waited for.
//
// If Fill is storing a value for key, Invalidate waits for Set to return. It
// must not be called by the Cache itself.
func (g *Group[K, V]) Invalidate(cache Cache[K, V], key K) {
	g.Forget(key) // loads that may have read before the write will not be stored
	cache.Delete(key)
	g.Forget(key) // a flight that found in the cache what was to be deleted
}
