// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import (
	"context"
	"maps"
	"unsafe"
)

// A call is the record of one flight.
//
// Until the flight has ended, all but out is guarded by Group.mu. What is
// still read afterwards no longer changes.
type call[V any] struct {
	callers int32 // who started or joined, and have not left
	loops   int32 // those of them that do not keep the flight alive; see [flight]
	listed  bool  // Group.m has this record under its key
	ended   bool  // out is final, and nobody can leave any more

	// Where to tell the callers that out is final: done is closed for those
	// who wait in Do and DoContext, and the channels are DoChan's. While
	// both are nil, nobody but the goroutine that runs fn knows this record.
	done  chan struct{}
	chans []chan<- Result[V]

	// The context of fn, and nil where it is the caller's own or has none.
	flight *flight
	cancel context.CancelFunc

	out  outcome[V] // written before ended is set, if anybody waits for it
	next *call[V]   // in Group.spare
}

const (
	crowd = 1024 // a map that has held more flights than this
	few   = 64   // is replaced when so many remain

	maxSpare = 16 << 10 // bytes of records kept for reuse
)

// startLocked returns the record of a new flight with one caller, in the map
// under key unless key is not equal to itself.
func (g *Group[K, V]) startLocked(key K, self bool) *call[V] {
	g.started++
	c := g.spare
	if c != nil {
		g.spare, c.next = c.next, nil
		g.spares--
	} else {
		c = &call[V]{callers: 1}
	}
	if self {
		if g.m == nil {
			g.m = make(map[K]*call[V])
		}
		g.m[key] = c
		c.listed = true
		if len(g.m) > crowd {
			g.burst = true
		}
	}
	return c
}

func (g *Group[K, V]) joinLocked(c *call[V]) {
	g.joined++
	c.callers++
}

// doneLocked makes c.done when the first caller needs it: most flights have
// none who does.
func (c *call[V]) doneLocked() <-chan struct{} {
	if c.done == nil {
		c.done = make(chan struct{})
	}
	return c.done
}

// unlistLocked frees key, which c holds. Whoever calls it has found c in the
// map or looked at c.listed. Tempting: delete the key without asking; the
// entry may by then be another flight's.
func (g *Group[K, V]) unlistLocked(c *call[V], key K) {
	delete(g.m, key)
	c.listed = false
	if g.burst && len(g.m) <= few {
		// A map never gives memory back. Move the few to a new one.
		m := make(map[K]*call[V], few)
		maps.Copy(m, g.m)
		g.m, g.burst = m, false
	}
}

// fly runs fn and ends c's flight, however fn ends. It does not return if fn
// called runtime.Goexit.
//
// Tempting: end the flight in the deferred call, whatever happened. That is
// one frame more below what end calls, and makes a new goroutine's stack grow.
func (g *Group[K, V]) fly(c *call[V], key K, fn func() (V, error), out *outcome[V]) {
	back := false
	defer func() {
		if !back {
			inline := c.cancel == nil // asked before the record is let go
			g.end(c, key, out)
			if inline && out.how == panicked {
				panic(out.panic) // by a deferred call, on the way out
			}
		}
	}()
	out.record(fn)
	back = true
	g.end(c, key, out)
}

// end frees the key, settles the outcome and lets the callers go.
func (g *Group[K, V]) end(c *call[V], key K, out *outcome[V]) {
	g.mu.Lock()
	g.ended++
	if c.listed {
		g.unlistLocked(c, key)
	}
	if c.done == nil && c.chans == nil {
		// Tempting: use every record again. A caller may be about to read
		// this one, or its channel may belong to a synctest bubble.
		if g.spares < uint32(maxSpare/unsafe.Sizeof(*c)) {
			c.next, g.spare = g.spare, c
			g.spares++
		}
		g.mu.Unlock()
		return
	}
	out.shared = c.callers > 1
	c.out, c.ended = *out, true
	// A panic must not be lost, and neither a channel nor a caller who has
	// left can be made to panic. Whether it comes to that is settled here,
	// where nobody has been woken who could recover and exit first.
	stranded := c.chans != nil || c.callers == 0
	g.mu.Unlock()
	out.crash(stranded)

	// Tempting: do this before the key is free, the callers have waited long
	// enough. A call in between would get a result older than itself. Nor
	// with the mutex held: waking ten thousand takes milliseconds.
	if c.cancel != nil {
		c.cancel()
	}
	if c.done != nil {
		close(c.done)
	}
	for _, ch := range c.chans {
		ch <- out.result()
	}
}
