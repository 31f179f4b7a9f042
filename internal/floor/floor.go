// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package floor does the least that a group with a mutex and a map can do: lock,
// look up and insert, unlock, run fn, lock, delete, unlock. Its calls do not join.
package floor

import "sync"

// A Group has the cost of a group, but does not share results.
type Group[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]*V
	up *V // every entry points to it
}

// New returns a Group.
func New[K comparable, V any]() *Group[K, V] {
	return &Group[K, V]{m: make(map[K]*V), up: new(V)}
}

// Do runs fn while key is in the map.
func (g *Group[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	g.mu.Lock()
	if _, ok := g.m[key]; !ok {
		g.m[key] = g.up
	}
	g.mu.Unlock()
	v, err = fn()
	g.mu.Lock()
	delete(g.m, key)
	g.mu.Unlock()
	return v, err, false
}
