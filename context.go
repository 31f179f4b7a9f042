// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import "context"

// DoContext is like [Group.Do] for callers who may stop waiting: each waits
// on its own ctx, and when the last one has left, fn's context is cancelled.
//
//  1. A call returns when the flight ends or when ctx is done, whichever
//     comes first: with what fn returned, or with ctx.Err() and the zero
//     value. Where both have happened, it is what fn returned.
//  2. If ctx is done already, the call returns ctx.Err(), and neither starts
//     nor joins a flight.
//  3. The call that starts the flight runs fn on a new goroutine. The context
//     that fn gets carries the values of that call's ctx, but neither its
//     deadline nor its cancellation. It is cancelled when the last caller has
//     left, never earlier, and in any case once fn has returned.
//  4. A caller of Do or DoChan never leaves, and neither does one whose ctx
//     can never be done ([context.Background]). They keep the flight alive,
//     whoever started it. Where a ctx that can never be done starts the
//     flight, fn runs on that caller's goroutine, as in Do, and gets ctx.
//  5. A flight whose last caller has left is abandoned, and its key is free
//     from that instant: nobody joins a cancelled flight. The next call
//     starts its own at once, while the abandoned fn may still be unwinding.
//  6. A forgotten flight is abandoned like any other, when its callers leave.
//  7. A call under fn's own context that would have a flight wait for itself,
//     directly or through other flights, joins but does not keep alive the
//     flight that it joins: when the callers outside have left, everything
//     unwinds. Whether it is such a call is decided when it joins.
//
// Shared counts the callers who stayed. A panic in fn, and a call of
// [runtime.Goexit], reach each of them on its own goroutine, as in Do, so
// that a server's recover around one request works for all.
//
// DoContext panics if ctx is nil.
//
// # What to watch for
//
// fn may outlive the call that started it. It must not touch what belongs to
// that caller and will be taken back: the request and its body, a buffer
// from a pool, a transaction.
//
//	// Wrong: the handler may be gone, and its buffer in other hands.
//	g.DoContext(r.Context(), id, func(ctx context.Context) (Page, error) {
//		return render(ctx, buf, r)
//	})
//
//	// Right: fn has copies of what it needs.
//	lang := r.Header.Get("Accept-Language")
//	g.DoContext(r.Context(), pageKey{id, lang}, func(ctx context.Context) (Page, error) {
//		return render(ctx, new(bytes.Buffer), id, lang)
//	})
//
// What fn reads from its context belongs in the key. The values are those of
// whoever came first: a user, a tenant or a language found there would be
// served to everyone who joined.
//
// V must not depend on fn's context, which is cancelled before anybody has
// the value. An unread response body or a *sql.Rows is dead by then: read it
// inside fn.
//
// A panic that nobody is left to receive, or that a DoChan channel waits for,
// ends the program as in any go statement. Where it must not, recover inside
// fn and return an error.
//
// Abandonment has no bound. If fn ignores its context, and clients give up
// and try again, every try adds an execution. Heed the context, or take a
// semaphore inside fn, or call Do.
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
		var fnCtx context.Context
		fnCtx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
		c.spawned = true
		go g.doCallContext(c, fnCtx, fn)
	}
	return g.wait(ctx, stop, c)
}

// enter joins the flight for key, or starts one, and reports whether it did.
// A call that joins will wait for c.done, and so will one that starts, unless
// it runs fn itself.
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

// wait returns when c's flight ends or when ctx is done, whose Done channel
// is stop.
func (g *Group[K, V]) wait(ctx context.Context, stop <-chan struct{}, c *call[K, V]) (v V, err error, shared bool) {
	select {
	case <-c.done:
	case <-stop:
		if g.leave(c) {
			if err := ctx.Err(); err != nil {
				return v, err, false
			}
			return v, context.Canceled, false
		}
		<-c.done
	}
	return c.out.deliver()
}

// doCallContext has parameters for what a closure in DoContext would capture by
// reference, and so allocate on every call.
func (g *Group[K, V]) doCallContext(c *call[K, V], ctx context.Context, fn func(context.Context) (V, error)) {
	var out outcome[V]
	g.doCall(c, func() (V, error) { return fn(ctx) }, &out)
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
