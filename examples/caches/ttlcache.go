// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"time"

	"example.com/singleflight"
	"github.com/jellydator/ttlcache/v3"
)

// A TTLCache is a cache of jellydator/ttlcache.
//
// OnEviction runs its callbacks on goroutines of their own: they may call
// Forget and Invalidate.
type TTLCache[K comparable, V any] struct{ cache *ttlcache.Cache[K, V] }

func (c TTLCache[K, V]) Get(key K) (value V, ok bool) {
	if item := c.cache.Get(key); item != nil {
		return item.Value(), true
	}
	return value, false
}
func (c TTLCache[K, V]) Set(key K, value V) { c.cache.Set(key, value, ttlcache.DefaultTTL) }
func (c TTLCache[K, V]) Delete(key K)       { c.cache.Delete(key) }

// newTTLCache turns off the default that a hit extends the lifetime of its entry,
// because an entry that is read often would never expire. The goroutine of Start
// is not needed, because the capacity limits the number of expired entries.
func newTTLCache[K comparable, V any]() (cache singleflight.Cache[K, V], stop func()) {
	return TTLCache[K, V]{ttlcache.New(
		ttlcache.WithTTL[K, V](time.Minute),
		ttlcache.WithCapacity[K, V](maxEntries),
		ttlcache.WithDisableTouchOnHit[K, V](),
	)}, func() {}
}
