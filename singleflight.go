// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

// A Group suppresses duplicate calls. While a function runs for a key, no
// other one is started for that key, and all who ask for it get its result.
// Another one starts beside it only after [Group.Forget],
// [Group.ForgetUnshared] or [Group.Invalidate], or when the last caller of a
// flight of [Group.DoContext] has left.
//
// The zero value is ready to use. A Group is safe for concurrent use, and must
// not be copied after first use.
//
// A flight is one execution of fn for a key. Its callers are those who started
// or joined it and have not left. For each key there is at most one flight that
// can be joined, and the key is free before any caller of the flight is
// released: a call that begins after a caller has got a flight's result does
// not join that flight.
//
// In the terminology of [the Go memory model], the return of fn “synchronizes
// before” the return of any call that shares its result, before the receipt of
// that result from a DoChan channel, and before the start of the key's next fn,
// unless the flight was forgotten or abandoned.
//
// A flight takes memory while it is up. Afterwards a Group keeps no key, value,
// error, context or fn, but at most 16 KiB of records to use again, and a map
// with room for a thousand keys, or for eight times as many as are up.
//
// [the Go memory model]: https://go.dev/ref/mem
type Group[K comparable, V any] struct {
	mu mutex

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

// Do calls fn and returns its results; or, if a flight for key is already up,
// it waits for that flight and returns its results.
//
// The call that starts the flight runs fn on the goroutine of its caller. The
// others wait until fn has ended, however long it takes. Their fn is ignored.
//
// Shared reports whether the results went to more than one caller. It is the
// same for all of them, the one that ran fn included. An error is shared like
// a value, the very same error, and is not remembered: the next call runs fn
// again.
//
// If fn panics, every caller's Do panics with the same [*PanicError], and the
// key is free again. If fn calls [runtime.Goexit], every caller's goroutine
// exits.
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

// DoChan is like [Group.Do], but does not wait: it returns a channel that
// receives the result, exactly once, and is never closed.
//
// The call that starts the flight runs fn on a new goroutine. DoChan has
// started or joined the flight when it returns, and returns at once, so it may
// be called with a lock held that fn needs. The channel has room for the
// result. A caller may discard it: it is freed when the flight has ended.
//
// A panic in fn crashes the program, also where DoChan has only joined, since a
// channel cannot panic. Recover inside fn where that must not happen. If fn
// calls [runtime.Goexit], the channel receives [ErrGoexit].
//
// A [Result] of 64 KiB or more cannot be the element of a channel, and a
// program with a Group of such a V does not compile. Use a pointer.
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

// Forget makes the next call for key start a flight of its own, even while an
// earlier one is still up. It does nothing if none is.
//
// Forget does not cancel the flight that is up. Its callers still get its
// result, but nobody else joins them, [Group.Fill] does not begin to store it,
// and its end does not affect the flight that took its place. If Fill has begun
// to store it, Forget waits for the flight to end, and the value stays in the
// cache; to remove it too, call [Group.Invalidate].
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

// ForgetUnshared is [Group.Forget] for a flight that has at most one caller. It
// reports whether the next call for key starts a flight of its own: true if
// the flight was forgotten or none was up. If it reports false, the flight has
// several callers and can still be joined, and ForgetUnshared has not waited.
// It waits where Forget does. Others may join the flight meanwhile.
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

// reflexive reports whether key equals itself. One that does not must stay out
// of the table, where nobody would find it again. One that cannot be compared
// panics here, and not with the mutex held.
func reflexive[K comparable](key K) bool {
	if key == key {
		return true
	}
	// It is tempting to leave it at that. But a comparison ends at the first
	// part that differs, and need not come to the part that panics.
	_ = map[K]struct{}(nil)[key]
	return false
}
