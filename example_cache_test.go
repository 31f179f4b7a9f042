// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"example.com/singleflight"
)

// An expiringMap keeps each value for a lifetime.
type expiringMap[K comparable, V any] struct {
	lifetime time.Duration
	entries  sync.Map // from K to entry[V]
}

type entry[V any] struct {
	value   V
	expires time.Time
}

// Get does not return a value that has expired.
func (c *expiringMap[K, V]) Get(key K) (v V, ok bool) {
	e, ok := c.entries.Load(key)
	if !ok || time.Now().After(e.(entry[V]).expires) {
		return v, false
	}
	return e.(entry[V]).value, true
}

func (c *expiringMap[K, V]) Set(key K, value V) {
	c.entries.Store(key, entry[V]{value, time.Now().Add(c.lifetime)})
}

func (c *expiringMap[K, V]) Delete(key K) {
	c.entries.Delete(key)
}

// Any type with these three methods is a Cache.
func ExampleCache() {
	var g singleflight.Group[string, int]
	cache := &expiringMap[string, int]{lifetime: time.Hour}

	loads := 0
	load := func(context.Context) (int, error) {
		loads++
		return loads, nil
	}
	for range 3 {
		v, err, _ := g.Fill(context.Background(), cache, "answer", load)
		fmt.Println(v, err)
	}
	g.Invalidate(cache, "answer")
	v, err, _ := g.Fill(context.Background(), cache, "answer", load)
	fmt.Println(v, err)

	// Output:
	// 1 <nil>
	// 1 <nil>
	// 1 <nil>
	// 2 <nil>
}
