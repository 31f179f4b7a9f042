// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import "context"

// DoContext is like [Group.Do], but each caller stops waiting when its ctx is
// done, and fn's context is canceled when no caller is left.
//
// A call returns when the flight ends or when ctx is done, whichever comes
// first; where both have happened, the flight's result wins. A caller that
// leaves gets the zero value, ctx.Err() and false. If ctx is done on entry, the
// call does that without starting or joining a flight.
//
// The call that starts the flight runs fn on a new goroutine. Fn's context has
// the values of that call's ctx, but neither its deadline nor its cancellation.
// It is canceled when the last caller has left, or else once fn has returned,
// and not earlier. No caller ever sees the cancellation of another.
//
// When the last caller leaves, the flight is abandoned: its key is free at
// once, and the next call starts a flight of its own, while the abandoned fn
// may still be running. A forgotten flight, too, is canceled when its last
// caller leaves.
//
// Callers of Do and DoChan never leave, and neither does one whose ctx can
// never be done, such as [context.Background]. They keep the flight alive,
// whichever call started it. Where a ctx that can never be done starts the
// flight, fn runs on that caller's goroutine, as in Do, and gets ctx itself.
//
// DoContext is for work that is worth nothing when nobody waits for it. Where fn
// takes longer than callers wait, it never finishes. The package comment says
// which method is for what, and has the rules for fn.
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
// one. It makes c.done, unless it starts a flight for a caller that runs fn
// itself.
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

// wait returns the results of c's flight, or leaves it when stop, which is
// ctx's Done channel, is closed first.
func (g *Group[K, V]) wait(ctx context.Context, stop <-chan struct{}, c *call[K, V]) (v V, err error, shared bool) {
	select {
	case <-c.done:
	case <-stop:
		if g.leave(c) {
			if err = ctx.Err(); err == nil {
				// A Context must not do that. But a nil error would say that
				// v is a result.
				err = context.Canceled
			}
			return v, err, false
		}
		<-c.done // The flight has ended, and its callers are being released.
	}
	return c.out.deliver()
}

// leave takes a caller out of c's flight, and reports false if the flight has
// already ended. The last caller to leave frees the key and cancels fn's
// context, unless Fill started the flight, which then goes on.
func (g *Group[K, V]) leave(c *call[K, V]) bool {
	g.mu.Lock()
	if c.ended {
		g.mu.Unlock()
		return false
	}
	g.left++
	c.callers--
	// It is tempting to decide this after the unlock. But a caller that joins
	// in between would get another's cancellation.
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
