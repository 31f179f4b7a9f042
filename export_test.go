// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import "unsafe"

// Few is how many flights a Group finds without a map, and Crowd is the size
// of a map above which it is replaced when few of its flights are left.
var Few = len(table[int, int]{}.few)

const Crowd = crowd

// Map returns how many flights are in g's map, and how many there were at most
// since the map was made.
func (g *Group[K, V]) Map() (size, peak int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.flights.many), g.flights.peak
}

// Held returns how many records g's table holds. When no flight can be joined,
// it should hold none.
func (g *Group[K, V]) Held() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.flights.few {
		if c != nil {
			n++
		}
	}
	return n + len(g.flights.many)
}

// Held returns the sum over all shards.
func (g *ShardedGroup[K, V]) Held() (n int) {
	g.once.Do(g.init)
	for i := range g.shards {
		n += g.shards[i].Held()
	}
	return n
}

// Spares returns how many records g keeps to use again, and their size.
func (g *Group[K, V]) Spares() (n, bytes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := g.spare; c != nil; c = c.next {
		n++
	}
	return n, n * int(unsafe.Sizeof(call[K, V]{}))
}

// ShardStats returns the Stats of each shard.
func (g *ShardedGroup[K, V]) ShardStats() []Stats {
	g.once.Do(g.init)
	var all []Stats
	for i := range g.shards {
		all = append(all, g.shards[i].Stats())
	}
	return all
}
