// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

//go:build schedules

package singleflight

import "strconv"

// Watch makes g's mutex call the functions before each Lock and after each
// Unlock.
func (g *Group[K, V]) Watch(locking, unlocked func(method string)) {
	g.mu.locking, g.mu.unlocked = locking, unlocked
}

// A Flight is the record of a flight.
type Flight[K comparable, V any] = call[K, V]

// FlightOf returns the flight that a call for key would join, or nil.
func (g *Group[K, V]) FlightOf(key K) *Flight[K, V] { return g.flights.find(key) }

// Append appends to b everything that decides how the flight goes on.
func (c *call[K, V]) Append(b []byte) []byte {
	for _, f := range []bool{c.storing, c.ended, c.spawned, c.done != nil, c.cancel != nil} {
		b = strconv.AppendBool(b, f)
	}
	return append(b, byte(c.callers), byte(c.place), byte(len(c.chans)))
}

// Awaited reports whether a caller or a channel waits for the flight's end.
func (c *call[K, V]) Awaited() bool { return c.done != nil || c.chans != nil }

// Abandoned reports whether the last caller has left, and so has canceled the
// flight.
func (c *call[K, V]) Abandoned() bool { return c.callers == 0 && c.cancel != nil }

// Callers returns how many callers have started or joined the flight and not
// left.
func (c *call[K, V]) Callers() int { return int(c.callers) }
