// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight"
)

// Three callers, one load.
func ExampleGroup_Do() {
	var g singleflight.Group[string, int]
	load := func() (int, error) {
		for g.Stats().Joined < 2 { // a slow load: the others come meanwhile
			runtime.Gosched()
		}
		fmt.Println("loading")
		return 42, nil
	}

	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			v, err, shared := g.Do("answer", load)
			fmt.Println(v, err, shared)
		})
	}
	wg.Wait()

	// Output:
	// loading
	// 42 <nil> true
	// 42 <nil> true
	// 42 <nil> true
}

// An impatient caller leaves; the load goes on for the other, though it was
// the impatient one who started it.
func ExampleGroup_DoContext() {
	var g singleflight.Group[string, int]
	left := make(chan struct{})
	load := func(ctx context.Context) (int, error) {
		<-left
		return 42, ctx.Err() // not done: somebody still waits
	}

	impatient, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err, _ := g.DoContext(impatient, "answer", load)
		fmt.Println("impatient:", err)
		close(left)
	})
	for g.Stats().Executions < 1 { // it has started the load
		runtime.Gosched()
	}
	wg.Go(func() {
		v, err, _ := g.DoContext(context.Background(), "answer", load)
		fmt.Println("patient:", v, err)
	})
	for g.Stats().Joined < 1 { // the other has joined
		runtime.Gosched()
	}
	cancel()
	wg.Wait()

	// Output:
	// impatient: context canceled
	// patient: 42 <nil>
}

// When the last caller has left, the work is canceled.
func ExampleGroup_DoContext_lastOneOut() {
	var g singleflight.Group[string, int]
	stopped := make(chan struct{})
	load := func(ctx context.Context) (int, error) {
		defer close(stopped)
		<-ctx.Done() // a query that heeds its context
		fmt.Println("load:", ctx.Err())
		return 0, ctx.Err()
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err, _ := g.DoContext(ctx, "answer", load)
	<-stopped
	fmt.Println("caller:", err)

	// Output:
	// load: context canceled
	// caller: context deadline exceeded
}

// To stop waiting after a while, give DoContext a context with a timeout. The
// load is canceled if nobody else waits for it.
func ExampleGroup_DoContext_timeout() {
	var g singleflight.Group[string, int]
	load := func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	v, err, _ := g.DoContext(ctx, "answer", load)
	if errors.Is(err, context.DeadlineExceeded) {
		fmt.Println("not in time")
	} else {
		fmt.Println(v, err)
	}

	// Output:
	// not in time
}

// The same with DoChan and select. The load is not canceled: it goes on, and
// its result can still be received.
func ExampleGroup_DoChan() {
	var g singleflight.Group[string, int]
	release := make(chan struct{})
	load := func() (int, error) {
		<-release
		return 42, nil
	}

	result := g.DoChan("answer", load)
	select {
	case r := <-result:
		fmt.Println(r.Val, r.Err)
	case <-time.After(10 * time.Millisecond):
		fmt.Println("not in time")
	}

	close(release)
	r := <-result // what has not been received is still there
	fmt.Println("later:", r.Val, r.Err)

	// Output:
	// not in time
	// later: 42 <nil>
}

// A userStore reads through a cache and writes past it.
type userStore struct {
	db interface {
		load(ctx context.Context, id int) (string, error)
		save(ctx context.Context, id int, name string) error
	}
	cache singleflight.Cache[int, string]
	users singleflight.Group[int, string]
}

func (s *userStore) get(ctx context.Context, id int) (string, error) {
	name, err, _ := s.users.Fill(ctx, s.cache, id, func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // the load's own limit
		defer cancel()
		return s.db.load(ctx, id)
	})
	return name, err
}

func (s *userStore) put(ctx context.Context, id int, name string) error {
	err := s.db.save(ctx, id, name)
	s.users.Invalidate(s.cache, id) // also after an error: it may have been saved
	return err
}

// An exampleCache is the simplest cache: it keeps everything.
type exampleCache struct{ m sync.Map }

func (c *exampleCache) Set(id int, name string) { c.m.Store(id, name) }
func (c *exampleCache) Delete(id int)           { c.m.Delete(id) }
func (c *exampleCache) Get(id int) (string, bool) {
	name, ok := c.m.Load(id)
	if !ok {
		return "", false
	}
	return name.(string), true
}

// slowRows is a database whose first load takes, from reading the row to
// returning it, until it is released.
type slowRows struct {
	rows    map[int]string
	loads   atomic.Int64
	began   chan struct{}
	release chan struct{}
}

func newSlowRows() *slowRows {
	return &slowRows{
		rows:    map[int]string{1: "Ada"},
		began:   make(chan struct{}),
		release: make(chan struct{}),
	}
}

func (db *slowRows) load(_ context.Context, id int) (string, error) {
	name := db.rows[id]
	if db.loads.Add(1) == 1 {
		close(db.began)
		<-db.release
	}
	return name, nil
}

func (db *slowRows) save(_ context.Context, id int, name string) error {
	db.rows[id] = name
	return nil
}

// A read-through cache: a thousand readers, one load. Readers who come when it
// has ended find its value in the cache.
func ExampleGroup_Fill() {
	db := newSlowRows()
	store := &userStore{db: db, cache: new(exampleCache)}

	var readers sync.WaitGroup
	for range 1000 {
		readers.Go(func() { store.get(context.Background(), 1) })
	}
	<-db.began
	close(db.release)
	readers.Wait()

	name, err := store.get(context.Background(), 1)
	fmt.Println(name, err, "after", db.loads.Load(), "load")

	// Output:
	// Ada <nil> after 1 load
}

// A write while a load is under way that has read the old row. A read after
// the write gets the new row, and the old one does not come into the cache,
// though its load ends last.
func ExampleGroup_Invalidate() {
	ctx := context.Background()
	db := newSlowRows()
	store := &userStore{db: db, cache: new(exampleCache)}

	var early sync.WaitGroup
	early.Go(func() {
		name, _ := store.get(ctx, 1)
		fmt.Println("a read that began before the write:", name)
	})
	<-db.began // it has read the old row

	store.put(ctx, 1, "Ada Lovelace")
	name, _ := store.get(ctx, 1)
	fmt.Println("a read after the write:", name)

	close(db.release)
	early.Wait()
	name, _ = store.get(ctx, 1)
	fmt.Println("and from the cache:", name)

	// Output:
	// a read after the write: Ada Lovelace
	// a read that began before the write: Ada
	// and from the cache: Ada Lovelace
}

// A test of your own code. In a bubble, Wait returns when everybody waits,
// so that "ten callers, one load" is an equality and not a matter of luck.
func Example_synctest() {
	var profiles singleflight.Group[int, string] // may be at package level

	testTenCallersOneLoad := func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			loads := 0
			load := func(ctx context.Context) (string, error) {
				loads++
				time.Sleep(time.Second) // takes no time in a bubble
				return "Ada", nil
			}
			for range 10 {
				go profiles.DoContext(t.Context(), 1, load)
			}
			synctest.Wait() // all ten are waiting

			s := profiles.Stats()
			fmt.Println("loads:", loads, "joined:", s.Joined, "in flight:", s.InFlight)
			time.Sleep(time.Second)
		})
	}
	runTest("Example_synctest", testTenCallersOneLoad) // as go test does

	// Output:
	// loads: 1 joined: 9 in flight: 1
}
