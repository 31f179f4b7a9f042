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

// When the last caller has left, the work is cancelled.
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
// load is cancelled if nobody else waits for it.
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

// The same with DoChan and select. The load is not cancelled: it goes on, and
// may fill a cache for those who come later.
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

// A read-through cache. A caller that missed the cache may call Do just after
// the load has ended which it would have joined: so fn looks again, and each
// key is loaded once.
func Example_cache() {
	var (
		g     singleflight.Group[string, int]
		cache sync.Map
		loads atomic.Int64
	)
	get := func(word string) (int, error) {
		if n, ok := cache.Load(word); ok {
			return n.(int), nil
		}
		n, err, _ := g.Do(word, func() (int, error) {
			if n, ok := cache.Load(word); ok {
				return n.(int), nil
			}
			loads.Add(1)
			n := len(word) // the expensive part
			cache.Store(word, n)
			return n, nil
		})
		return n, err
	}

	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() { get("stampede") })
	}
	wg.Wait()
	n, err := get("stampede")
	fmt.Println(n, err, "after", loads.Load(), "load")

	// Output:
	// 8 <nil> after 1 load
}

// A profile store with a cache, which no reader finds older than the last
// write that was finished when it asked. Order alone cannot give that: a load
// that began before the write would put what it read into the cache after it.
type profileStore struct {
	db interface {
		read(id int) string
		write(id int, name string)
	}
	flights singleflight.Group[int, string]

	mu    sync.Mutex
	cache map[int]string
	gen   map[int]int // how often id was written
}

func (s *profileStore) get(id int) string {
	if name, ok := s.cached(id); ok {
		return name
	}
	name, _, _ := s.flights.Do(id, func() (string, error) {
		if name, ok := s.cached(id); ok {
			return name, nil
		}
		s.mu.Lock()
		gen := s.gen[id] // noted before the read
		s.mu.Unlock()

		name := s.db.read(id)

		s.mu.Lock()
		defer s.mu.Unlock()
		if s.gen[id] == gen { // no write came in between
			s.cache[id] = name
		}
		return name, nil
	})
	return name
}

func (s *profileStore) put(id int, name string) {
	s.db.write(id, name)

	s.mu.Lock()
	s.gen[id]++
	delete(s.cache, id)
	s.mu.Unlock()
	s.flights.Forget(id) // later readers do not join a load from before
}

func (s *profileStore) cached(id int) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, ok := s.cache[id]
	return name, ok
}

// slowRows is a database whose first read takes until it is released.
type slowRows struct {
	rows    map[int]string
	reads   atomic.Int64
	began   chan struct{}
	release chan struct{}
}

func (db *slowRows) write(id int, name string) { db.rows[id] = name }

func (db *slowRows) read(id int) string {
	name := db.rows[id]
	if db.reads.Add(1) == 1 {
		close(db.began)
		<-db.release
	}
	return name
}

// A write that no reader can miss: Forget, and inside fn store only if the
// key's generation has not moved.
func Example_write() {
	db := &slowRows{rows: map[int]string{1: "Ada"}, began: make(chan struct{}), release: make(chan struct{})}
	s := &profileStore{db: db, cache: make(map[int]string), gen: make(map[int]int)}

	var wg sync.WaitGroup
	wg.Go(func() { fmt.Println("a read that began before the write:", s.get(1)) })
	<-db.began // it has the old row in its hands

	s.put(1, "Ada Lovelace")
	fmt.Println("a read after the write:", s.get(1))
	close(db.release)
	wg.Wait()
	fmt.Println("and from the cache:", s.get(1))

	// Output:
	// a read after the write: Ada Lovelace
	// a read that began before the write: Ada
	// and from the cache: Ada Lovelace
}

// A test of one's own code. In a bubble, Wait returns when everybody waits,
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
