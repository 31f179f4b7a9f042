// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package cachetest tests whether a read-through cache ever returns or holds a value
// that is older than a write that had finished before.
package cachetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"example.com/singleflight"
)

// A Store is a read-through cache over a database. Its values are versions:
// each write of a key has a higher one than the write before.
type Store struct {
	Cache singleflight.Cache[int, int]

	// Read returns the value for key from the cache, or else by load.
	Read func(ctx context.Context, key int, load func(context.Context) (int, error)) (int, error)

	// Written is called after each write of key.
	Written func(key int)

	// Forget is called now and then, without a write.
	Forget func(key int)
}

// A Group is a singleflight.Group or a singleflight.ShardedGroup.
type Group interface {
	DoContext(ctx context.Context, key int, fn func(context.Context) (int, error)) (int, error, bool)
	Fill(ctx context.Context, cache singleflight.Cache[int, int], key int, load func(context.Context) (int, error)) (int, error, bool)
	Invalidate(cache singleflight.Cache[int, int], key int)
	Forget(key int)
}

// Fill is the Store that uses Fill and Invalidate with g and cache.
func Fill(g Group, cache singleflight.Cache[int, int]) Store {
	return Store{
		Cache: cache,
		Read: func(ctx context.Context, key int, load func(context.Context) (int, error)) (int, error) {
			v, err, _ := g.Fill(ctx, cache, key, load)
			return v, err
		},
		Written: func(key int) { g.Invalidate(cache, key) },
		Forget:  g.Forget,
	}
}

// ByHand is the Store that is usually written with DoContext: it reads the cache,
// reads it again inside fn and stores there, and after a write it forgets and
// deletes. It must return old values, or else Run proves nothing.
func ByHand(g Group, cache singleflight.Cache[int, int]) Store {
	return Store{
		Cache: cache,
		Read: func(ctx context.Context, key int, load func(context.Context) (int, error)) (int, error) {
			if v, ok := cache.Get(key); ok {
				return v, nil
			}
			v, err, _ := g.DoContext(ctx, key, func(ctx context.Context) (int, error) {
				if v, ok := cache.Get(key); ok {
					return v, nil
				}
				v, err := load(ctx)
				if err == nil {
					cache.Set(key, v)
				}
				return v, err
			})
			return v, err
		},
		Written: func(key int) {
			g.Forget(key)
			cache.Delete(key)
		},
		Forget: g.Forget,
	}
}

// A Report has the findings of Run.
type Report struct {
	Writes, Reads, Hits, Left int

	// Old is the number of values, returned to readers or found in the cache,
	// that were older than a write after which Written had already returned.
	Old int
	// FirstOld describes the first of them.
	FirstOld string
}

const (
	keys    = 3
	readers = 8
	writers = 2
)

var errDatabase = errors.New("the database is down")

// A trial is one Run.
type trial struct {
	Store
	db    [keys]atomic.Int64 // the version of the last write
	known [keys]atomic.Int64 // the highest version after which Written has returned

	mu     sync.Mutex
	report Report
}

// Run has readers that read and give up, writers that write, and others that
// forget, all at random, for as long as d. The sleeps are a few milliseconds long,
// and take no time in a synctest bubble. A call with the same seed makes the same
// choices, but in real time not in the same order.
func Run(seed uint64, d time.Duration, s Store) Report {
	t := &trial{Store: s}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var wg sync.WaitGroup
	run := func(n int, step func(ctx context.Context, r *rand.Rand)) {
		for range n {
			seed++
			r := rand.New(rand.NewPCG(seed, 1))
			wg.Go(func() {
				for ctx.Err() == nil {
					step(context.WithoutCancel(ctx), r)
				}
			})
		}
	}
	run(readers, t.read)
	run(writers, t.write)
	run(1, func(_ context.Context, r *rand.Rand) {
		pause(r, 40*time.Millisecond)
		t.Forget(r.IntN(keys))
	})
	wg.Wait()
	// Loads may still be running after their callers have left.
	time.Sleep(100 * time.Millisecond)
	for key := range keys {
		t.lookUp("at the end", key)
	}
	return t.report
}

// pause sleeps for up to d, yields the processor, or does nothing.
func pause(r *rand.Rand, d time.Duration) {
	if n := r.IntN(4); n > 0 {
		time.Sleep(time.Duration(n) * d / 3)
	}
}

// load reads the database at once, and returns the value a while later.
func (t *trial) load(r *rand.Rand, key int) func(context.Context) (int, error) {
	before, after, fails := r.IntN(3), r.IntN(10), r.IntN(20) == 0
	return func(ctx context.Context) (int, error) {
		time.Sleep(time.Duration(before) * time.Millisecond)
		v := int(t.db[key].Load())
		time.Sleep(time.Duration(after) * time.Millisecond)
		if fails {
			return 0, errDatabase
		}
		return v, nil
	}
}

func (t *trial) read(ctx context.Context, r *rand.Rand) {
	key := r.IntN(keys)
	pause(r, 4*time.Millisecond)
	if r.IntN(2) == 0 {
		t.lookUp("a look into the cache", key)
		return
	}
	if r.IntN(3) > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(12))*time.Millisecond)
		defer cancel()
	}
	known := int(t.known[key].Load())
	v, err := t.Read(ctx, key, t.load(r, key))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Reads++
	switch {
	case err == nil:
		t.checkLocked("a read", key, v, known)
	case ctx.Err() != nil:
		t.report.Left++
	}
}

// write writes key, and checks the cache at once and a while later.
func (t *trial) write(ctx context.Context, r *rand.Rand) {
	key := r.IntN(keys)
	v := int(t.db[key].Add(1))
	t.Written(key)
	for known := &t.known[key]; ; {
		if old := known.Load(); old >= int64(v) || known.CompareAndSwap(old, int64(v)) {
			break
		}
	}
	t.mu.Lock()
	t.report.Writes++
	t.mu.Unlock()
	t.lookUp("the cache after a write", key)
	pause(r, 20*time.Millisecond)
	t.lookUp("the cache a while after a write", key)
	known := int(t.known[key].Load())
	if v, err := t.Read(ctx, key, t.load(r, key)); err == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.checkLocked("a read after a write", key, v, known)
	}
}

// lookUp checks the value in the cache.
func (t *trial) lookUp(what string, key int) {
	known := int(t.known[key].Load())
	v, ok := t.Cache.Get(key)
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok {
		t.report.Hits++
		t.checkLocked(what, key, v, known)
	}
}

func (t *trial) checkLocked(what string, key, v, known int) {
	if v >= known {
		return
	}
	t.report.Old++
	if t.report.FirstOld == "" {
		t.report.FirstOld = fmt.Sprintf("%s of key %d: version %d, want at least %d", what, key, v, known)
	}
}

// Slow delays Set and Delete of a cache by up to two milliseconds, before and
// after they take effect.
func Slow(cache singleflight.Cache[int, int]) singleflight.Cache[int, int] {
	return slow{cache}
}

type slow struct{ singleflight.Cache[int, int] }

func (s slow) Set(key, v int) {
	time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
	s.Cache.Set(key, v)
	time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
}

func (s slow) Delete(key int) {
	time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
	s.Cache.Delete(key)
	time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
}
