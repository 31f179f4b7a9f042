// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import (
	"reflect"
	"unsafe"
)

// Few is how many flights a Group finds without a map, and Crowd is the size
// of a map above which it is replaced when it has become too large.
var Few = len(table[int, int]{}.few)

const Crowd = crowd

// Map returns the address of the map that g's flights are in, and how many
// there are in it.
func (g *Group[K, V]) Map() (address uintptr, size int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return reflect.ValueOf(g.flights.many).Pointer(), len(g.flights.many)
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
