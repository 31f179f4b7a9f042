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

// What a ShardedGroup promises for each key is tested together with Group.
// The tests here are about the shards.

// Several goroutines may make the first use at once, by different methods.
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

// The number of shards is four times GOMAXPROCS as of first use, rounded up
// to a power of two.
func TestShardsFollowGOMAXPROCSAtFirstUse(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, test := range []struct{ procs, shards int }{{1, 4}, {2, 8}, {3, 16}, {8, 32}, {16, 64}} {
		runtime.GOMAXPROCS(test.procs)
		var g singleflight.ShardedGroup[int, int]
		for range 2 {
			if got := len(g.ShardStats()); got != test.shards {
				t.Errorf("GOMAXPROCS(%d): got %d shards, want %d", test.procs, got, test.shards)
			}
			runtime.GOMAXPROCS(1) // no longer changes it
		}
	}
}

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

// Keys are spread evenly. With 100 keys a shard, none has more than 200.
func TestShardedGroupSpreadsKeys(t *testing.T) {
	var g singleflight.ShardedGroup[int, int]
	keys := 100 * len(g.ShardStats())
	for key := range keys {
		g.Do(key, value(key))
	}
	for i, s := range g.ShardStats() {
		if s.Executions == 0 || s.Executions > 200 {
			t.Errorf("shard %d has %d of %d keys, want 1 to 200", i, s.Executions, keys)
		}
	}
}
