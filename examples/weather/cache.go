// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"time"

	"github.com/jellydator/ttlcache/v3"
)

// A memory is the cache of one process, for Fill and Invalidate. They keep a
// load that a write has overtaken from storing an old row.
type memory struct {
	entries *ttlcache.Cache[key, reading]
}

func newMemory(ttl time.Duration) memory {
	// Without DisableTouchOnHit, a city that is read often would never expire.
	// Only cities that exist are stored, so neither a capacity nor the
	// cleaning goroutine (Start) is needed.
	return memory{ttlcache.New(
		ttlcache.WithTTL[key, reading](ttl),
		ttlcache.WithDisableTouchOnHit[key, reading](),
	)}
}

func (m memory) Get(k key) (answer, bool) {
	if e := m.entries.Get(k); e != nil {
		return answer{reading: e.Value(), Source: "cache"}, true
	}
	return answer{}, false
}

func (m memory) Set(k key, a answer) { m.entries.Set(k, a.reading, ttlcache.DefaultTTL) }
func (m memory) Delete(k key)        { m.entries.Delete(k) }

// nothing is the memory of a process that shares a Redis with others. It stores
// nothing, because the writes of other processes could not delete it.
type nothing struct{}

func (nothing) Get(key) (answer, bool) { return answer{}, false }
func (nothing) Set(key, answer)        {}
func (nothing) Delete(key)             {}
