// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"example.com/singleflight"
	"github.com/hashicorp/golang-lru/v2/expirable"
)

// An Expirable is a cache of hashicorp/golang-lru whose entries may expire.
//
// Its callback for evicted entries runs with the cache locked: it must not
// call Forget or Invalidate, nor any method of the cache.
type Expirable[K comparable, V any] struct{ *expirable.LRU[K, V] }

func (c Expirable[K, V]) Set(key K, value V) { c.Add(key, value) }
func (c Expirable[K, V]) Delete(key K)       { c.Remove(key) }

// newExpirable sets no lifetime, because a lifetime starts a goroutine that
// version 2 of golang-lru cannot stop. A program that keeps its cache until it
// ends can set one.
func newExpirable[K comparable, V any]() (cache singleflight.Cache[K, V], stop func()) {
	return Expirable[K, V]{expirable.NewLRU[K, V](maxEntries, nil, 0)}, func() {}
}
