// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import (
	"context"
	"runtime/debug"
	"unsafe"
)

// A call is the record of one flight. Its fields are guarded by Group.mu
// where nothing else is said.
type call[K comparable, V any] struct {
	key     K
	place   place // in Group.flights
	callers int32 // who started or joined, and have not left: x/sync's dups and the leader
	spawned bool  // fn runs on a goroutine of its own
	storing bool  // Fill's Set is running, so the flight cannot be forgotten before it ends
	ended   bool  // nobody can leave any more

	// How the callers learn of the end: done is closed for those who wait in
	// a method, and each of DoChan's channels receives the result. While both
	// are nil, only the goroutine that runs fn knows this record.
	done  chan struct{}
	chans []chan<- Result[V]

	// Cancels fn's context if the last caller leaves. Only DoContext sets it,
	// in the caller that starts the flight, which is a caller until then: so
	// it is set, without the mutex, before anybody can be the last.
	cancel context.CancelFunc

	// Written before done is closed, and read after.
	out outcome[V]

	next *call[K, V] // in Group.spare
}

// maxSpare is how many bytes of records a Group keeps to use again.
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

// doneLocked returns c.done, and makes it when it is first needed: most
// flights have nobody who waits.
func (c *call[K, V]) doneLocked() <-chan struct{} {
	if c.done == nil {
		c.done = make(chan struct{})
	}
	return c.done
}

// doCall runs fn and ends c's flight, however fn ends. It returns unless fn
// called runtime.Goexit. Afterwards c may already be another flight's record,
// and only out is safe to use.
//
// It takes two deferred calls to tell a panic from a Goexit. The inner one, in
// recovering, stops a panic, so that control comes back to record; after a
// Goexit it does not come back, and only the deferred call here runs.
//
// It is tempting to end the flight in the deferred call in every case, but
// that is one more frame below what end calls, which makes the stack of a new
// goroutine grow: DoContext took twice as long.
func (g *Group[K, V]) doCall(c *call[K, V], fn func() (V, error), out *outcome[V]) {
	normal := false
	defer func() {
		if normal {
			return
		}
		// fn panicked on its way out of a Goexit, which goes on after the
		// recover. A caller that runs fn itself gets the panic here, since it
		// gets no further. With DoChan, end has crashed the program.
		repanic := !c.spawned
		g.end(c, out)
		if repanic && out.how == panicked {
			panic(out.panic)
		}
	}()
	out.record(fn)
	normal = true
	g.end(c, out)
}

// record calls fn and records how it ended. It does not return if fn called
// runtime.Goexit.
func (o *outcome[V]) record(fn func() (V, error)) {
	o.recovering(fn)
	if o.how == exited {
		// Control came back, so it was not Goexit. It is tempting to trust
		// recover, but under GODEBUG=panicnil=1 it returns nil for panic(nil).
		o.how = panicked
	}
}

func (o *outcome[V]) recovering(fn func() (V, error)) {
	defer func() {
		if o.how == returned {
			return
		}
		// The stack is taken here, while it still shows fn: by the time that
		// Goexit and panic(nil) can be told apart, it no longer does.
		o.panic = &PanicError{Value: recover(), Stack: debug.Stack()}
		if o.panic.Value != nil {
			o.how = panicked // even if a Goexit goes on from here
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
	// left can panic. This is decided here, because a caller that has been
	// woken could recover and exit first.
	unreachable := c.chans != nil || c.callers == 0
	g.mu.Unlock()
	out.crash(unreachable)

	// It is tempting to do this earlier. But before the key is free, a new
	// call would get a result older than itself; and with the mutex held, other
	// keys would wait while thousands are woken.
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

// forgetAndUnlock takes c, which can be joined, out of the table. But while
// Fill's Set is running the flight stays where it is found, so that every
// Forget waits, and not only the first.
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
