// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

// Stats is a snapshot of what a Group has done and is doing.
//
// Executions + Joined is the number of calls, and Joined of them ran no fn. Not
// counted are a call that panics for its key or its nil context, one whose
// context is done on entry, and a Fill that its first Get answers. A flight of
// Fill that finds the value in the cache is an execution without a load.
type Stats struct {
	Executions uint64 // flights that were started
	Joined     uint64 // callers that joined a flight
	Left       uint64 // callers whose context was done before the flight was

	InFlight int // keys whose flight can be joined now
	Running  int // flights that have not ended, forgotten and abandoned ones included
}

// Stats returns the figures of one instant. Running - InFlight is the number of
// flights that have not ended, and that have been forgotten or abandoned or have
// a key that does not equal itself.
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
