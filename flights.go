// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import "maps"

// A table holds the flights that can be joined, and finds them by their keys. A
// few are found by comparing keys, which is several times as fast as hashing
// one. If there are more, all of them move to a map, which also takes new ones
// until it is empty.
//
// Every key in a table is equal to itself.
type table[K comparable, V any] struct {
	few  [8]*call[K, V] // the first n are in use; none if many is not empty
	n    int
	many map[K]*call[K, V] // made when first needed
	peak int               // the largest size of many since it was made
}

// A place says where in a table a call is: an index of few, or one of these.
type place int8

const (
	nowhere place = -1 - iota
	inMany
)

// A map never gives memory back. One that has held more than crowd flights is
// replaced when an eighth of them, or fewer, remain. The seven eighths that
// have been removed pay for moving the rest.
const crowd = 1024

func (t *table[K, V]) len() int { return t.n + len(t.many) }

// find returns the flight for key, or nil if there is none.
func (t *table[K, V]) find(key K) *call[K, V] {
	if len(t.many) > 0 {
		return t.many[key]
	}
	for _, c := range t.few[:t.n] {
		if c.key == key {
			return c
		}
	}
	return nil
}

// add puts c into the table, which has no flight for c's key.
func (t *table[K, V]) add(c *call[K, V]) {
	if len(t.many) == 0 {
		if t.n < len(t.few) {
			c.place = place(t.n)
			t.few[t.n] = c
			t.n++
			return
		}
		t.fewToMany()
	}
	c.place = inMany
	t.many[c.key] = c
	t.peak = max(t.peak, len(t.many))
}

func (t *table[K, V]) fewToMany() {
	if t.many == nil {
		t.many = make(map[K]*call[K, V])
	}
	for _, c := range t.few {
		c.place = inMany
		t.many[c.key] = c
	}
	clear(t.few[:])
	t.n = 0
}

// remove takes c out of the table if it is there. It is tempting to look for
// the key, but that may belong to another flight by now.
func (t *table[K, V]) remove(c *call[K, V]) {
	switch c.place {
	case nowhere:
		return
	case inMany:
		delete(t.many, c.key)
		if t.peak > crowd && len(t.many) <= t.peak/8 {
			t.shrink()
		}
	default:
		t.n--
		last := t.few[t.n]
		last.place = c.place
		t.few[c.place] = last
		t.few[t.n] = nil
	}
	c.place = nowhere
}

// shrink replaces the map by one of the size that is needed now.
func (t *table[K, V]) shrink() {
	many := make(map[K]*call[K, V], len(t.many))
	maps.Copy(many, t.many)
	t.many, t.peak = many, len(many)
}
