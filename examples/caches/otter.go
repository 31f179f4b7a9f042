// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"time"

	"example.com/singleflight"
	"github.com/maypok86/otter/v2"
)

// An Otter is a cache of maypok86/otter.
//
// Its OnAtomicDeletion runs inside Set and Delete, with part of the cache
// locked: it must not call Forget or Invalidate. OnDeletion runs on a goroutine
// of its own, and may call them, unless an Executor runs it elsewhere.
type Otter[K comparable, V any] struct{ cache *otter.Cache[K, V] }

func (c Otter[K, V]) Get(key K) (V, bool) { return c.cache.GetIfPresent(key) }
func (c Otter[K, V]) Set(key K, value V)  { c.cache.Set(key, value) }
func (c Otter[K, V]) Delete(key K)        { c.cache.Invalidate(key) }

func newOtter[K comparable, V any]() (cache singleflight.Cache[K, V], stop func()) {
	c := otter.Must(&otter.Options[K, V]{
		MaximumSize:      maxEntries,
		ExpiryCalculator: otter.ExpiryWriting[K, V](time.Minute),
	})
	return Otter[K, V]{c}, func() { c.StopAllGoroutines() }
}
