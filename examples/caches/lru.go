// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"example.com/singleflight"
	lru "github.com/hashicorp/golang-lru/v2"
)

// An LRU is a cache of hashicorp/golang-lru, which already has a Get that fits.
//
// A callback of lru.NewWithEvict runs inside Add and Remove, on the goroutine
// that called them: it must not call Forget or Invalidate.
type LRU[K comparable, V any] struct{ *lru.Cache[K, V] }

func (c LRU[K, V]) Set(key K, value V) { c.Add(key, value) }
func (c LRU[K, V]) Delete(key K)       { c.Remove(key) }

func newLRU[K comparable, V any]() (cache singleflight.Cache[K, V], stop func()) {
	c, err := lru.New[K, V](maxEntries)
	if err != nil {
		panic(err) // the size is not positive
	}
	return LRU[K, V]{c}, func() {}
}
