// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package singleflight has the signatures of the library.
package singleflight

import "context"

type Group[K comparable, V any] struct{ _ int }

type Result[V any] struct {
	Val    V
	Err    error
	Shared bool
}

type Cache[K comparable, V any] interface {
	Get(key K) (V, bool)
	Set(key K, value V)
	Delete(key K)
}

func (g *Group[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	v, err = fn()
	return v, err, false
}

func (g *Group[K, V]) DoChan(key K, fn func() (V, error)) <-chan Result[V] { return nil }

func (g *Group[K, V]) DoContext(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	v, err = fn(ctx)
	return v, err, false
}

func (g *Group[K, V]) Fill(ctx context.Context, cache Cache[K, V], key K, load func(context.Context) (V, error)) (v V, err error, shared bool) {
	v, err = load(ctx)
	return v, err, false
}

func (g *Group[K, V]) Invalidate(cache Cache[K, V], key K) {}

func (g *Group[K, V]) Forget(key K) {}

type ShardedGroup[K comparable, V any] struct{ g Group[K, V] }

func (g *ShardedGroup[K, V]) Do(key K, fn func() (V, error)) (v V, err error, shared bool) {
	return g.g.Do(key, fn)
}

func (g *ShardedGroup[K, V]) DoContext(ctx context.Context, key K, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	return g.g.DoContext(ctx, key, fn)
}
