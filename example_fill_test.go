// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"example.com/singleflight"
)

// A nameStore reads the names of users through a cache.
type nameStore struct {
	query func(ctx context.Context, id int) (string, error) // of the database
	cache nameCache
	names singleflight.Group[int, string]
}

func (s *nameStore) name(ctx context.Context, id int) (string, error) {
	name, err, _ := s.names.Fill(ctx, &s.cache, id, func(ctx context.Context) (string, error) {
		// The load goes on when all callers have left, so it has a time
		// limit of its own.
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return s.query(ctx, id)
	})
	return name, err
}

// A nameCache keeps everything. A cache with a limit works as well.
type nameCache struct{ m sync.Map }

func (c *nameCache) Set(id int, name string) { c.m.Store(id, name) }
func (c *nameCache) Delete(id int)           { c.m.Delete(id) }
func (c *nameCache) Get(id int) (string, bool) {
	name, ok := c.m.Load(id)
	if !ok {
		return "", false
	}
	return name.(string), true
}

// A thousand readers cause one load. Those that come during the load share its
// result, and those that come later find it in the cache.
func ExampleGroup_Fill() {
	var queries atomic.Int64
	store := &nameStore{query: func(ctx context.Context, id int) (string, error) {
		queries.Add(1)
		return "Ada", nil
	}}

	var readers sync.WaitGroup
	for range 1000 {
		readers.Go(func() { store.name(context.Background(), 1) })
	}
	readers.Wait()

	name, err := store.name(context.Background(), 1)
	fmt.Println(name, err)
	fmt.Println("queries:", queries.Load())

	// Output:
	// Ada <nil>
	// queries: 1
}
