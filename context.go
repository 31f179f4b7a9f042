// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import "context"

// DoContext is like [Group.Do], but each caller stops waiting when its ctx is
// done, and fn's context is canceled when no caller is left. It is for work
// that is worth nothing once nobody waits for it: if fn takes longer than
// callers wait, it never finishes. For other work, use [Group.Fill] or
// [Group.DoChan].
//
//  1. A call returns when the flight ends or when ctx is done, whichever comes
//     first. If both have happened, it returns the flight's result. A caller
//     that leaves gets the zero value, ctx.Err(), and shared false. So does a
//     call whose ctx is done on entry, which neither starts nor joins a
//     flight.
//  2. The call that starts a flight runs fn on a new goroutine. Fn's context
//     has the values of that call's ctx, but neither its deadline nor its
//     cancellation. It is canceled when the last caller leaves or when fn has
//     returned, never earlier: no caller sees the cancellation of another.
//  3. When the last caller leaves, the key is free at once. The next call
//     starts a new flight, while the abandoned fn may still be running. A
//     forgotten flight is also canceled when its last caller leaves.
//  4. Callers of Do and DoChan never leave, and neither does a caller whose
//     ctx can never be done, such as [context.Background]. They keep a flight
//     going, whichever call started it. If a call with such a ctx starts the
//     flight, it runs fn on its own goroutine, as Do does, with ctx itself.
//
// DoContext panics if ctx is nil.
func (g *Group[K, V]) DoContext(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	if ctx == nil {
		panic("singleflight: nil Context")
	}
	self := reflexive(key)
	if err := ctx.Err(); err != nil {
		return v, err, false
	}
	stop := ctx.Done()
	c, starts := g.enter(key, self, stop == nil)
	if starts {
		if stop == nil {
			var out outcome[V]
			g.doCall(c, func() (V, error) { return fn(ctx) }, &out)
			return out.deliver()
		}
		fnCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c.cancel = cancel
		c.spawned = true
		go func() {
			var out outcome[V]
			g.doCall(c, func() (V, error) { return fn(fnCtx) }, &out)
		}()
	}
	return g.wait(ctx, stop, c)
}

// enter joins the flight for key or starts one, and reports whether it started
// one. It makes c.done, unless it starts a flight whose caller runs fn itself.
func (g *Group[K, V]) enter(key K, self, runs bool) (c *call[K, V], starts bool) {
	g.mu.Lock()
	c = g.flights.find(key)
	if c != nil {
		g.joinLocked(c)
		c.doneLocked()
	} else {
		starts = true
		c = g.startLocked(key, self)
		if !runs {
			c.doneLocked()
		}
	}
	g.mu.Unlock()
	return c, starts
}

// wait returns the results of c's flight. If stop, which is ctx's Done
// channel, is closed first, it leaves the flight.
func (g *Group[K, V]) wait(ctx context.Context, stop <-chan struct{}, c *call[K, V]) (v V, err error, shared bool) {
	select {
	case <-c.done:
	case <-stop:
		if g.leave(c) {
			if err = ctx.Err(); err == nil {
				// This Context breaks its contract. A nil error would say
				// that v is a result.
				err = context.Canceled
			}
			return v, err, false
		}
		<-c.done // The flight has ended, and its callers are being released.
	}
	return c.out.deliver()
}

// leave removes a caller from c's flight. It reports false if the flight has
// already ended. The last caller to leave frees the key and cancels fn's
// context, unless Fill started the flight, which then continues.
func (g *Group[K, V]) leave(c *call[K, V]) bool {
	g.mu.Lock()
	if c.ended {
		g.mu.Unlock()
		return false
	}
	g.left++
	c.callers--
	// It is tempting to decide this after the unlock, but a caller that joined
	// in between would get the cancellation of another.
	abandoned := c.callers == 0 && c.cancel != nil
	if abandoned {
		g.flights.remove(c)
	}
	g.mu.Unlock()
	if abandoned {
		c.cancel()
	}
	return true
}
