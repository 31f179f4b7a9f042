// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

// Stats is a snapshot of what a Group has done and is doing.
//
// Executions + Joined is the number of calls. Joined of them ran no fn. Not
// counted are a call that panics because of its key or its nil context, a call
// whose context is done on entry, and a Fill that finds the value with its
// first Get. A flight of Fill that finds the value in the cache is an
// execution without a load.
type Stats struct {
	Executions uint64 // flights that were started
	Joined     uint64 // callers that joined a flight
	Left       uint64 // callers whose context was done before the flight ended

	InFlight int // flights that can be joined now, one for each key
	Running  int // flights that have not ended, including forgotten and abandoned ones
}

// Stats returns the figures of one instant. Running - InFlight is the number
// of flights that have not ended and cannot be joined: they have been
// forgotten or abandoned, or their key is not equal to itself.
func (g *Group[K, V]) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Stats{
		Executions: g.started,
		Joined:     g.joined,
		Left:       g.left,
		InFlight:   g.flights.len(),
		Running:    int(g.started - g.ended),
	}
}
