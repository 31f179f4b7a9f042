// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"example.com/singleflight"
	"github.com/dgraph-io/ristretto/v2"
)

// A Ristretto is a cache of dgraph-io/ristretto, whose Set and Del go through a
// queue.
//
// Invalidate keeps its promise because Set waits until the queue has reached
// its value. Without Wait, an old value that is still in the queue can come into
// the cache after Delete has returned, and stays until the queue reaches the
// deletion. Also, a Get soon after Set would find nothing, and the next Fill would
// load again. Delete need not wait: it removes at once what is there.
//
// Set may drop its value if the queue is full, or if other entries are read more
// often. Then the next Fill loads again.
//
// OnEvict, OnReject, Cost and OnExit run on a goroutine that Set waits for: they
// must not call Forget or Invalidate. Close the cache after the last load has
// ended, which may be after its last caller has left: a Set concurrent with Close
// can panic or wait forever.
type Ristretto[K ristrettoKey, V any] struct{ cache *ristretto.Cache[K, V] }

type ristrettoKey interface {
	comparable
	ristretto.Key
}

func (c Ristretto[K, V]) Get(key K) (V, bool) { return c.cache.Get(key) }
func (c Ristretto[K, V]) Set(key K, value V) {
	c.cache.Set(key, value, 1)
	c.cache.Wait()
}
func (c Ristretto[K, V]) Delete(key K) { c.cache.Del(key) }

func newRistretto[K ristrettoKey, V any]() (cache singleflight.Cache[K, V], stop func()) {
	c, err := ristretto.NewCache(&ristretto.Config[K, V]{
		NumCounters:        10 * maxEntries,
		MaxCost:            maxEntries,
		BufferItems:        64,
		IgnoreInternalCost: true,
	})
	if err != nil {
		panic(err) // a number is not positive
	}
	return Ristretto[K, V]{c}, c.Close
}
