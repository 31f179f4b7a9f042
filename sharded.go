// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import (
	"context"
	"hash/maphash"
	"math/bits"
	"runtime"
	"sync"
)

// A ShardedGroup is a [Group] whose keys are spread over independent Groups,
// so that calls for different keys seldom wait for the same mutex. It has the
// same methods and makes the same promises for each key. Each call costs a
// hash of the key, which pays only if many cores make calls that take no
// longer than a microsecond or two; for anything slower, use a Group.
//
// The zero value is ready to use. A ShardedGroup is safe for concurrent use
// and must not be copied after first use. The number of Groups is fixed at
// first use, from GOMAXPROCS. Each of them keeps the memory that a Group
// keeps.
type ShardedGroup[K comparable, V any] struct {
	once   sync.Once
	seed   maphash.Seed
	shards []shard[K, V] // a power of two of them
}

// A shard has its own cache lines, even on machines that fetch them in pairs.
type shard[K comparable, V any] struct {
	Group[K, V]
	_ [128]byte
}

const shardsPerProc = 4

func (g *ShardedGroup[K, V]) init() {
	n := shardsPerProc * runtime.GOMAXPROCS(0)
	g.seed = maphash.MakeSeed()
	g.shards = make([]shard[K, V], 1<<bits.Len(uint(n-1)))
}

// of returns the Group that key belongs to. A key that cannot be compared
// cannot be hashed either, and panics here.
func (g *ShardedGroup[K, V]) of(key K) *Group[K, V] {
	g.once.Do(g.init)
	return &g.shards[maphash.Comparable(g.seed, key)&uint64(len(g.shards)-1)].Group
}

// Do is [Group.Do].
func (g *ShardedGroup[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	return g.of(key).Do(key, fn)
}

// DoChan is [Group.DoChan].
func (g *ShardedGroup[K, V]) DoChan(key K, fn func() (V, error)) <-chan Result[V] {
	return g.of(key).DoChan(key, fn)
}

// DoContext is [Group.DoContext].
func (g *ShardedGroup[K, V]) DoContext(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	return g.of(key).DoContext(ctx, key, fn)
}

// Fill is [Group.Fill].
func (g *ShardedGroup[K, V]) Fill(ctx context.Context, cache Cache[K, V], key K, load func(context.Context) (V, error)) (v V, err error, shared bool) {
	v, self, ok := hit(ctx, cache, key)
	if ok {
		return v, nil, false
	}
	return g.of(key).miss(ctx, cache, key, self, load)
}

// Invalidate is [Group.Invalidate].
func (g *ShardedGroup[K, V]) Invalidate(cache Cache[K, V], key K) {
	g.of(key).Invalidate(cache, key)
}

// Forget is [Group.Forget].
func (g *ShardedGroup[K, V]) Forget(key K) {
	g.of(key).Forget(key)
}

// ForgetUnshared is [Group.ForgetUnshared].
func (g *ShardedGroup[K, V]) ForgetUnshared(key K) bool {
	return g.of(key).ForgetUnshared(key)
}

// Stats returns the sum over all shards, each at an instant of its own.
// Figures that are taken while calls are made may not add up.
func (g *ShardedGroup[K, V]) Stats() Stats {
	g.once.Do(g.init)
	var sum Stats
	for i := range g.shards {
		s := g.shards[i].Stats()
		sum.Executions += s.Executions
		sum.Joined += s.Joined
		sum.Left += s.Left
		sum.InFlight += s.InFlight
		sum.Running += s.Running
	}
	return sum
}
