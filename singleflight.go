// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

// A Group suppresses duplicate calls. While fn runs for a key, other calls for
// that key share its result instead of running their own fn. No other fn for
// the key starts before the first has ended, except after [Group.Forget],
// [Group.ForgetUnshared] or [Group.Invalidate], or after the last caller of a
// [Group.DoContext] flight has left and so abandoned it.
//
// The zero value is ready to use. A Group is safe for concurrent use and must
// not be copied after first use.
//
// A flight is one execution of fn for a key. Its callers are those that
// started or joined it and have not left. For each key, at most one flight can
// be joined, and the key is free before any caller of the flight returns: a
// call that begins after a caller has received a flight's result does not join
// that flight.
//
// In the terminology of [the Go memory model], the return of fn “synchronizes
// before” the return of any call that shares its result, before the receipt of
// that result from a DoChan channel, and before the start of the key's next
// fn, unless the flight was forgotten or abandoned.
//
// A flight takes memory only until it ends. After that, a Group keeps no key,
// value, error, context or fn. It keeps at most 16 KiB of records to use
// again, and a map with room for a thousand keys, or for eight times the keys
// in flight if that is more.
//
// [the Go memory model]: https://go.dev/ref/mem
type Group[K comparable, V any] struct {
	mu mutex

	flights table[K, V] // flights that can be joined

	spare  *call[K, V] // records to use again
	spares uint32      // how many

	started, ended uint64 // executions of fn
	joined, left   uint64 // callers
}

// Result is what a channel returned by DoChan receives: the three results of
// Do. Err is [ErrGoexit] if fn called runtime.Goexit.
type Result[V any] struct {
	Val    V
	Err    error
	Shared bool
}

// Do calls fn and returns its results. If a flight for key is already in
// progress, Do ignores fn, waits for that flight, and returns its results.
//
// The call that starts a flight runs fn on its own goroutine. All other calls
// wait until fn has ended, however long it takes.
//
// Shared reports whether the results went to more than one caller. It is the
// same for all of them, including the one that ran fn. All callers get the
// same error, which is not remembered: the next call runs fn again.
//
// If fn panics, Do panics in every caller with the same [*PanicError]. If fn
// calls [runtime.Goexit], every caller's goroutine exits. In both cases, the
// key is free again.
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
// The call that starts a flight runs fn on a new goroutine. DoChan returns at
// once, after it has started or joined the flight, so it may be called while
// holding a lock that fn needs. The channel has room for the result, so a
// caller may discard it without a leak.
//
// A panic in fn crashes the program, even if DoChan has only joined the
// flight, because a channel cannot panic. To prevent that, recover inside fn.
// If fn calls [runtime.Goexit], the channel receives [ErrGoexit].
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

// Forget makes the next call for key start a new flight, even if an earlier
// one is still in progress. If none is, Forget does nothing.
//
// Forget does not cancel the earlier flight. Its callers still get its result,
// but no other call joins it, [Group.Fill] does not begin to store its value,
// and its end does not affect the flight that took its place. If Fill has
// already begun to store the value, Forget waits for the flight to end, and
// the value stays in the cache. To remove it too, call [Group.Invalidate].
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

// ForgetUnshared is like [Group.Forget], but does nothing if the flight has
// more than one caller. It reports whether the next call for key starts a new
// flight: true if the flight was forgotten or none was in progress.
//
// Before it reports true, ForgetUnshared may wait for the end of the flight, as
// Forget does, and other calls may join the flight meanwhile. If it reports
// false, it has not waited, and the flight can still be joined.
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

// reflexive reports whether key equals itself. A key that does not must stay
// out of the table, where it could not be found again. A key that cannot be
// compared panics here, before the mutex is locked.
func reflexive[K comparable](key K) bool {
	if key == key {
		return true
	}
	// It is tempting to return false here, but a comparison ends at the first
	// part that differs, and may not reach the part that panics. A hash does.
	_ = map[K]struct{}(nil)[key]
	return false
}
