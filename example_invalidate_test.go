// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"example.com/singleflight"
)

// A userStore reads users through a cache, and removes from the cache what it
// writes.
type userStore struct {
	db    userTable
	cache userCache
	users singleflight.Group[int, string]
}

func (s *userStore) get(ctx context.Context, id int) (string, error) {
	name, err, _ := s.users.Fill(ctx, &s.cache, id, func(ctx context.Context) (string, error) {
		return s.db.load(ctx, id)
	})
	return name, err
}

func (s *userStore) put(ctx context.Context, id int, name string) error {
	err := s.db.save(ctx, id, name)
	s.users.Invalidate(&s.cache, id) // also after an error: the name may have been saved
	return err
}

// A userCache keeps everything.
type userCache struct{ m sync.Map }

func (c *userCache) Set(id int, name string) { c.m.Store(id, name) }
func (c *userCache) Delete(id int)           { c.m.Delete(id) }
func (c *userCache) Get(id int) (string, bool) {
	name, ok := c.m.Load(id)
	if !ok {
		return "", false
	}
	return name.(string), true
}

// A userTable is a database whose first load is slow: after it has read the
// row, it waits for release.
type userTable struct {
	rows          map[int]string
	loads         atomic.Int64
	read, release chan struct{}
}

func (db *userTable) load(_ context.Context, id int) (string, error) {
	name := db.rows[id]
	if db.loads.Add(1) == 1 {
		close(db.read)
		<-db.release
	}
	return name, nil
}

func (db *userTable) save(_ context.Context, id int, name string) error {
	db.rows[id] = name
	return nil
}

// A write comes while a load has read the old row and has not yet returned it.
// A read after the write gets the new row. The old row does not come into the
// cache, although its load ends last.
func ExampleGroup_Invalidate() {
	ctx := context.Background()
	store := new(userStore)
	store.db.rows = map[int]string{1: "Ada"}
	store.db.read, store.db.release = make(chan struct{}), make(chan struct{})

	var early sync.WaitGroup
	early.Go(func() {
		name, _ := store.get(ctx, 1)
		fmt.Println("a read that began before the write:", name)
	})
	<-store.db.read

	store.put(ctx, 1, "Ada Lovelace")
	name, _ := store.get(ctx, 1)
	fmt.Println("a read after the write:", name)

	close(store.db.release)
	early.Wait()
	name, _ = store.get(ctx, 1)
	fmt.Println("a read from the cache:", name)

	// Output:
	// a read after the write: Ada Lovelace
	// a read that began before the write: Ada
	// a read from the cache: Ada Lovelace
}
