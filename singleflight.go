// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import "sync"

// A Group suppresses duplicate calls: while a function runs for a key, no
// other is started for it, and everyone who asks for that key gets its
// result. Two things let the next call start at once beside a function that
// still runs: [Group.Forget], and the leaving of the last caller of
// [Group.DoContext].
//
// The zero value is ready to use. A Group is safe for concurrent use, and
// must not be copied after first use.
//
// A flight is one execution of fn for a key; its callers are those who
// started or joined it and have not left. There is at most one flight per
// key that can be joined, and the key is free before any caller of the
// flight is released: a call that begins after anyone has a result gets a
// newer one.
//
// In the terminology of [the Go memory model], the return of fn
// “synchronizes before” the return of any call that shares its result,
// before the receipt of that result from a DoChan channel, and before the
// start of the key's next fn, unless the flight was forgotten or abandoned.
//
// Keys match by ==. A key that does not equal itself (a NaN, or a struct or
// interface holding one) is never shared. A key whose dynamic type cannot
// be compared panics in the call that brings it, and nowhere else.
//
// A flight takes memory while it is up. Afterwards a Group keeps no key,
// value, error, context or fn, but at most 16 KiB of records to use again,
// and a map with room for a thousand keys if there were so many at once.
//
// [the Go memory model]: https://go.dev/ref/mem
type Group[K comparable, V any] struct {
	mu sync.Mutex

	flights table[K, V] // those that can be joined

	spare  *call[K, V] // records to use again
	spares uint32      // how many

	started, ended uint64 // executions of fn
	joined, left   uint64 // callers
}

// Result is what a channel returned by DoChan receives: the three results
// of Do. Its Err is [ErrGoexit] if fn called runtime.Goexit.
type Result[V any] struct {
	Val    V
	Err    error
	Shared bool
}

// Do calls fn and returns its results, or, if a flight for key is already
// up, waits for that one and returns what it returned.
//
// The call that starts the flight runs fn on its own goroutine. The others
// wait until fn has ended, however long it takes; see [Group.DoContext] for
// a wait that can end sooner. Their fn is not looked at.
//
// Shared reports whether the results went to more than one caller, and is
// the same for all of them, the one that ran fn included. The value is then
// in several hands: do not modify it. An error is shared like a value, the
// very same error, and is not remembered: the next call runs fn again.
//
// If fn panics, every caller's Do panics with the same [*PanicError], and
// the key is free again. If a DoChan channel waits for the flight too, there
// is no goroutine to panic in on its behalf, so the program crashes. If fn
// calls [runtime.Goexit], every caller's goroutine exits.
//
// A call of Do from within fn that waits for fn's own flight, directly or
// through other flights, never returns.
func (g *Group[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	self := reflexive(key)
	g.mu.Lock()
	if c := g.flights.find(key); c != nil {
		g.joinLocked(c)
		done := c.doneLocked()
		g.mu.Unlock()
		<-done
		return c.out.deliver()
	}
	c := g.startLocked(key, self)
	g.mu.Unlock()

	var out outcome[V]
	g.doCall(c, fn, &out)
	return out.deliver()
}

// DoChan is like [Group.Do] but does not wait: it returns a channel that
// receives the result, exactly once, and is never closed.
//
// DoChan has started or joined the flight when it returns, and returns at
// once, so it may be called with a lock held that fn needs. The call that
// starts the flight runs fn on a new goroutine. The channel has room for
// the result: whoever stops waiting can drop it, and nothing is left behind
// when the flight is over.
//
// A panic in fn crashes the program, as it would in any go statement, since
// a channel cannot panic; recover inside fn, and return an error, where
// that must not be. If fn calls [runtime.Goexit], the channel receives
// [ErrGoexit].
//
// A [Result] of 64 KiB or more cannot be the element of a channel, and a
// program with a Group of such a V does not compile: use a pointer.
func (g *Group[K, V]) DoChan(key K, fn func() (V, error)) <-chan Result[V] {
	self := reflexive(key)
	ch := make(chan Result[V], 1)
	g.mu.Lock()
	if c := g.flights.find(key); c != nil {
		g.joinLocked(c)
		c.chans = append(c.chans, ch)
		g.mu.Unlock()
		return ch
	}
	c := g.startLocked(key, self)
	c.chans = append(c.chans, ch)
	g.mu.Unlock()

	go func() {
		var out outcome[V]
		g.doCall(c, fn, &out)
	}()
	return ch
}

// Forget makes the next call for key start a flight of its own, even while
// an earlier one is still up. It does nothing if none is.
//
// Forget does not cancel the flight that is up: its callers still get its
// result, but nobody joins them, and its end does not touch the flight that
// took its place. Call Forget after a write, so that no later call joins a
// load that may have read before it.
func (g *Group[K, V]) Forget(key K) {
	if !reflexive(key) {
		return
	}
	g.mu.Lock()
	c := g.flights.find(key)
	if c == nil {
		g.mu.Unlock()
		return
	}
	g.forgetAndUnlock(c)
}

// ForgetUnshared is [Group.Forget] for a flight that has exactly one caller.
// It reports whether a call for key would now start a flight of its own:
// true if the flight was forgotten or none was up, false if it goes on to be
// shared.
func (g *Group[K, V]) ForgetUnshared(key K) bool {
	if !reflexive(key) {
		return true
	}
	g.mu.Lock()
	c := g.flights.find(key)
	if c == nil {
		g.mu.Unlock()
		return true
	}
	if c.callers > 1 {
		g.mu.Unlock()
		return false
	}
	g.forgetAndUnlock(c)
	return true
}

// reflexive reports whether key equals itself. One that does not must stay
// out of the map, where nobody would find it again, not even to delete it.
// One that cannot be compared or hashed panics here, and not with the mutex
// held.
func reflexive[K comparable](key K) bool {
	if key == key {
		return true
	}
	// Tempting: leave it at that. A comparison ends at the first part that
	// differs, and need not come to the part that panics.
	_ = map[K]struct{}(nil)[key]
	return false
}
