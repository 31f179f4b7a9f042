// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import (
	"context"
	"sync"
)

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
	// A Context may be anybody's code, so it is not asked with the mutex held.
	stop, parent := ctx.Done(), flightOf(ctx)

	g.mu.Lock()
	c := g.m[key]
	var fctx context.Context // for fn, if it is ours that flies
	switch {
	case c != nil:
		g.joinLocked(c)
	case stop == nil:
		c = g.startLocked(key, self)
		g.mu.Unlock()
		var out outcome[V]
		g.fly(c, key, func() (V, error) { return fn(ctx) }, &out)
		return out.deliver()
	default:
		c = g.startLocked(key, self)
		c.flight = &flight{Context: context.Background(), values: ctx}
		fctx, c.cancel = context.WithCancel(c.flight)
	}
	done := c.doneLocked()
	nested := parent != nil && c.flight != nil
	loop := nested && !parent.waitFor(c.flight)
	if loop {
		c.loops++
	}
	g.mu.Unlock()
	if fctx != nil {
		go g.flyContext(c, key, fctx, fn)
	}

	leaving := false
	select {
	case <-done:
	case <-stop:
		leaving = true
	}
	if nested && !loop {
		// Before leaving: a circle must not be seen where there is none now.
		parent.stopWaitingFor(c.flight)
	}
	if leaving {
		if g.leave(c, key, loop) {
			return v, ctx.Err(), false
		}
		<-done // The flight ended first, and its callers are being let go.
	}
	return c.out.deliver()
}

// flyContext has parameters for what a closure in DoContext would capture by
// reference, and so allocate on every call.
func (g *Group[K, V]) flyContext(c *call[V], key K, ctx context.Context, fn func(context.Context) (V, error)) {
	var out outcome[V]
	g.fly(c, key, func() (V, error) { return fn(ctx) }, &out)
}

// leave takes a caller out of c's flight and reports whether it could: not
// if the flight has ended. Who is the last to leave frees the key and cancels
// fn's context.
func (g *Group[K, V]) leave(c *call[V], key K, loop bool) bool {
	g.mu.Lock()
	if c.ended {
		g.mu.Unlock()
		return false
	}
	g.left++
	c.callers--
	if loop {
		c.loops--
	}
	// Tempting: decide this after the unlock, where the cancelling is done.
	// A caller that joins in between would be cancelled by another's leaving.
	last := c.callers == c.loops
	if last && c.listed {
		g.unlistLocked(c, key)
	}
	g.mu.Unlock()
	if last {
		c.cancel()
	}
	return true
}

// A flight is the parent of fn's context: the background, with the values of
// the first caller's context. It knows for which flights fn waits, in calls
// made under that context.
//
// These waits never form a circle: a call that would close one is counted as
// a loop by the flight it joins, and not noted here. So among flights that
// only flights wait for, there is one that nothing keeps alive; when it is
// cancelled and its fn gives up, the same is true of the rest.
type flight struct {
	context.Context                 // never done
	values          context.Context // the first caller's

	// Guarded by nesting.
	waits map[*flight]int // for which flights, in how many calls
	seen  uint64          // the last search that came by
}

// nesting guards the waits of all flights, across Groups. It is taken for
// calls within fn only, after Group.mu where that is held too.
var nesting struct {
	sync.Mutex
	search uint64 // the number of the latest
}

type flightKey struct{}

// flightOf returns the innermost flight that ctx comes from, or nil.
func flightOf(ctx context.Context) *flight {
	f, _ := ctx.Value(flightKey{}).(*flight)
	return f
}

func (f *flight) Value(key any) any {
	if key == (flightKey{}) {
		return f
	}
	return f.values.Value(key)
}

// waitFor notes that f's fn waits for other, unless that would close a
// circle, and reports whether it did.
func (f *flight) waitFor(other *flight) bool {
	nesting.Lock()
	defer nesting.Unlock()
	nesting.search++
	if other.reaches(f) {
		return false
	}
	if f.waits == nil {
		f.waits = make(map[*flight]int)
	}
	f.waits[other]++
	return true
}

func (f *flight) stopWaitingFor(other *flight) {
	nesting.Lock()
	defer nesting.Unlock()
	if f.waits[other]--; f.waits[other] == 0 {
		delete(f.waits, other)
	}
}

// reaches reports whether f is other, or waits for it directly or through
// flights that this search has not seen yet. nesting is held.
func (f *flight) reaches(other *flight) bool {
	if f == other {
		return true
	}
	f.seen = nesting.search
	for next := range f.waits {
		if next.seen != nesting.search && next.reaches(other) {
			return true
		}
	}
	return false
}
