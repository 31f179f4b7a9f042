// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import (
	"context"
	"runtime/debug"
	"unsafe"
)

// A call is the record of one flight. Group.mu guards its fields, unless a
// comment says otherwise.
type call[K comparable, V any] struct {
	key     K
	place   place // in Group.flights
	callers int32 // those that started or joined and have not left: one more than x/sync's dups
	storing bool  // Fill may be in Set, so Forget must wait for the end
	ended   bool  // no caller can leave any more
	spawned bool  // fn runs on a new goroutine of DoContext or Fill; like cancel, used without the mutex

	// done is closed for callers that wait in a method, and each of DoChan's
	// channels receives the result. While both are nil, only the goroutine
	// that runs fn keeps a pointer to this record.
	done  chan struct{}
	chans []chan<- Result[V]

	// cancel cancels fn's context. DoContext sets it without the mutex after
	// it has started the flight and before its caller can leave, so it is set
	// when the last caller leaves. A flight without it cannot be abandoned.
	cancel context.CancelFunc

	// out is written before done is closed, and read afterwards, without the
	// mutex.
	out outcome[V]

	next *call[K, V] // in Group.spare
}

// maxSpare is the number of bytes of records that a Group keeps to use again.
const maxSpare = 16 << 10

// startLocked returns the record of a new flight with one caller. The flight
// can be joined, unless key is not equal to itself.
func (g *Group[K, V]) startLocked(key K, self bool) *call[K, V] {
	g.started++
	c := g.spare
	if c != nil {
		g.spare, c.next = c.next, nil
		g.spares--
	} else {
		c = &call[K, V]{place: nowhere, callers: 1}
	}
	c.key = key
	if self {
		g.flights.add(c)
	}
	return c
}

// joinLocked adds a caller to c's flight.
func (g *Group[K, V]) joinLocked(c *call[K, V]) {
	g.joined++
	c.callers++
}

// doneLocked returns c.done. It makes the channel when first needed, because
// most flights have no waiters.
func (c *call[K, V]) doneLocked() <-chan struct{} {
	if c.done == nil {
		c.done = make(chan struct{})
	}
	return c.done
}

// doCall runs fn and ends c's flight, however fn ends. It returns if fn
// returned, or if fn panicked on a goroutine of its own. After that, c may
// already be the record of another flight, and only out is safe to use.
//
// A panic and a Goexit are told apart as follows. The deferred call in
// recovering stops a panic, so record continues. After a Goexit, record does not
// continue. The deferred call in doCall ends the flight in every case.
func (g *Group[K, V]) doCall(c *call[K, V], fn func() (V, error), out *outcome[V]) {
	defer func() {
		// A caller that runs fn itself gets the panic here, because doCall
		// does not return if fn called Goexit and then panicked. repanic is
		// also true on the goroutine of DoChan, where end has already crashed
		// the program.
		repanic := !c.spawned
		g.end(c, out)
		if repanic && out.how == panicked {
			panic(out.panic)
		}
	}()
	out.record(fn)
}

// record calls fn and records how it ended. It does not return if fn called
// runtime.Goexit.
func (o *outcome[V]) record(fn func() (V, error)) {
	o.recovering(fn)
	if o.how == exited {
		// recovering returned, so this is not a Goexit. It is tempting to rely
		// on recover, but under GODEBUG=panicnil=1 it returns nil for panic(nil).
		o.how = panicked
	}
}

// recovering is the part of record that a panic in fn ends. Under
// GODEBUG=panicnil=1, a panic(nil) in a deferred call of fn after Goexit counts
// as the Goexit.
func (o *outcome[V]) recovering(fn func() (V, error)) {
	defer func() {
		if o.how == returned {
			return
		}
		// Take the stack here, where it still shows fn. In record, where Goexit
		// and panic(nil) can be told apart, it no longer does.
		o.panic = &PanicError{Value: recover(), Stack: debug.Stack()}
		if o.panic.Value != nil {
			o.how = panicked // even if a Goexit continues after this
		}
	}()
	o.v, o.err = fn()
	o.how = returned
}

// end frees the key, decides whether the result is shared, and releases the
// callers.
func (g *Group[K, V]) end(c *call[K, V], out *outcome[V]) {
	g.mu.Lock()
	g.ended++
	g.flights.remove(c)
	if c.done == nil && c.chans == nil {
		g.reuseLocked(c)
		g.mu.Unlock()
		return
	}
	c.ended = true
	out.shared = c.callers > 1
	// A panic must not be lost, and neither a channel nor a caller that has
	// left can panic. Decide this before any caller is woken, because that
	// caller could recover and exit the program first.
	unreachable := c.chans != nil || c.callers == 0
	g.mu.Unlock()
	out.crash(unreachable)

	// It is tempting to do the rest earlier. But before the key is free, a new
	// call would get a result older than itself, and while the mutex is held,
	// calls for other keys would wait until thousands of callers are woken.
	if c.cancel != nil {
		c.cancel()
	}
	if c.done != nil {
		c.out = *out
		close(c.done)
	}
	for _, ch := range c.chans {
		ch <- out.result()
	}
}

// forgetAndUnlock removes c, which can be joined, from the table. If Fill may
// be in Set, it waits for the end of the flight instead, and leaves c in the
// table, where a second Forget must find it too.
func (g *Group[K, V]) forgetAndUnlock(c *call[K, V]) {
	if c.storing {
		done := c.doneLocked()
		g.mu.Unlock()
		<-done
		return
	}
	g.flights.remove(c)
	g.mu.Unlock()
}

// reuseLocked keeps the record of a flight that nobody joined. It is tempting
// to keep every record, but a caller may be about to read it, or its channel
// may belong to a synctest bubble.
func (g *Group[K, V]) reuseLocked(c *call[K, V]) {
	if g.spares < uint32(maxSpare/unsafe.Sizeof(*c)) {
		var zero K
		c.key, c.storing = zero, false
		c.next, g.spare = g.spare, c
		g.spares++
	}
}
