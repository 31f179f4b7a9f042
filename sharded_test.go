// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"runtime"
	"sync"
	"testing"

	"example.com/singleflight"
)

// What a ShardedGroup promises of single keys is tested with Group's own
// promises. These are about the shards.

// The first use may be by many at once, of different methods.
func TestShardedGroupFirstUseByMany(t *testing.T) {
	for range pick(200, 20) {
		var g singleflight.ShardedGroup[int, int]
		var wg sync.WaitGroup
		start := make(chan struct{})
		for key := range 4 {
			wg.Go(func() { <-start; g.Do(key, value(key)) })
			wg.Go(func() { <-start; g.Stats() })
			wg.Go(func() { <-start; g.Forget(key) })
		}
		close(start)
		wg.Wait()
		if got, want := g.Stats(), (singleflight.Stats{Executions: 4}); got != want {
			t.Fatalf("Stats() = %+v, want %+v", got, want)
		}
	}
}

// The number of shards is the next power of two from four times GOMAXPROCS,
// as it is at first use. Each has cache lines of its own, 128 bytes at least,
// so their number can be told from the memory that they take.
func TestShardsFollowGOMAXPROCSAtFirstUse(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, test := range []struct{ procs, shards int64 }{{1, 4}, {2, 8}, {3, 16}, {8, 32}, {16, 64}} {
		runtime.GOMAXPROCS(int(test.procs))
		groups := make([]singleflight.ShardedGroup[int, int], 200)
		before := heap()
		for i := range groups {
			groups[i].Stats()
		}
		after := heap()
		runtime.GOMAXPROCS(1)
		for i := range groups {
			groups[i].Stats() // no longer changes it
		}
		again := heap()
		runtime.KeepAlive(groups)
		each := (after - before) / int64(len(groups))
		if low, high := test.shards*128, test.shards*256; each < low || each >= high || again-after > (after-before)/4 {
			t.Errorf("GOMAXPROCS %d: a ShardedGroup takes %d bytes, want %d to %d for %d shards", test.procs, each, low, high, test.shards)
		}
	}
}

// Stats adds up all shards.
func TestShardedStatsAreTheSum(t *testing.T) {
	var g singleflight.ShardedGroup[int, int]
	release := make(chan struct{})
	const keys = 1000
	var wg sync.WaitGroup
	for key := range keys {
		wg.Go(func() { g.Do(key, after(release, key)) })
	}
	until(func() bool { return g.Stats().Running == keys })
	if got, want := g.Stats(), (singleflight.Stats{Executions: keys, InFlight: keys, Running: keys}); got != want {
		t.Errorf("Stats() = %+v, want %+v", got, want)
	}
	close(release)
	wg.Wait()
}

// Keys are spread over all shards: each keeps some records of a burst, and so
// many more are kept than one Group would.
func TestShardedGroupSpreadsKeys(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(16))
	const keys = 3000
	warmUp(2 * keys)
	kept := func(g group[int, int]) int64 {
		before := heap()
		release := make(chan struct{})
		var wg sync.WaitGroup
		for key := range keys {
			wg.Go(func() { g.Do(key, after(release, key)) })
		}
		until(func() bool { return g.Stats().Running == keys })
		close(release)
		wg.Wait()
		defer runtime.KeepAlive(g)
		return heap() - before
	}
	one, many := kept(new(singleflight.Group[int, int])), kept(new(singleflight.ShardedGroup[int, int]))
	if many < 4*one || many < 200<<10 {
		t.Errorf("64 shards keep %d bytes of %d records, one Group %d: the keys were not spread", many, keys, one)
	}
}
