// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

// Stats is a snapshot of what a Group has done and is doing.
//
// Executions + Joined is the number of calls, and Joined of them ran no fn. A
// call that panicked for its key or its nil context, or whose context was
// done when it was made, is not counted.
type Stats struct {
	Executions uint64 // times that fn was started
	Joined     uint64 // callers that joined a flight, rather than starting it
	Left       uint64 // callers whose context was done before the flight was

	InFlight int // keys whose flight can be joined now
	Running  int // fns that have not ended, those of forgotten and abandoned flights included
}

// Stats returns the figures of one instant. A Running that stays above
// InFlight means that fns go on for nobody, or that Forget is called often.
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
