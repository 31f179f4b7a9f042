// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package ours uses the library, and dropin.
package ours

import (
	"context"
	"time"

	"example.com/singleflight"
	dropin "example.com/singleflight/dropin"
	"slog"
)

type user struct{}

var (
	users   singleflight.Group[int, *user]
	sharded singleflight.ShardedGroup[int, *user]
	old     dropin.Group
	cache   singleflight.Cache[int, *user]
)

func load(ctx context.Context, id int) (*user, error) { return nil, ctx.Err() }

func do(ctx context.Context, id int) {
	users.Do(id, func() (*user, error) {
		return load(ctx, id) // want `ctx belongs to the caller`
	})
	sharded.Do(id, func() (*user, error) {
		return load(ctx, id) // want `ctx belongs to the caller`
	})
	old.Do("", func() (any, error) {
		return load(ctx, id) // want `ctx belongs to the caller`
	})
}

func generic[K comparable, V any](ctx context.Context, g *singleflight.Group[K, V], key K, load func(context.Context) (V, error)) {
	g.Do(key, func() (V, error) {
		return load(ctx) // want `ctx belongs to the caller`
	})
}

func outer(ctx context.Context, id int) {
	users.DoContext(ctx, id, func(context.Context) (*user, error) {
		return load(ctx, id) // want `ctx is the context of the caller that starts the flight: fn must use its own parameter, which is not canceled while callers wait$`
	})
	users.DoContext(ctx, id, func(_ context.Context) (*user, error) {
		return load(ctx, id) // want `ctx is the context of the caller`
	})
	users.DoContext(ctx, id, func(inner context.Context) (*user, error) {
		if err := inner.Err(); err != nil {
			return nil, err
		}
		return load(ctx, id) // want `ctx is the context of the caller`
	})
	users.Fill(ctx, cache, id, func(_ context.Context) (*user, error) {
		return load(ctx, id) // want `ctx is the context of the caller`
	})
}

func noFix(ctx context.Context, id int) {
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	users.DoContext(ctx, id, func(ctx context.Context) (*user, error) {
		return load(short, id) // want `short is the context of the caller .*\(no fix: it is not the context that is passed to DoContext\)`
	})
	users.DoContext(ctx, id, func(inner context.Context) (*user, error) {
		{
			inner := 1
			_ = inner
			return load(ctx, id) // want `ctx is the context of the caller .*\(no fix: inner has another meaning there\)`
		}
	})
	users.DoContext(ctx, id, func(context.Context) (*user, error) {
		u, err := load(ctx, id) // want `ctx is the context of the caller .*\(no fix: fn declares a ctx of its own\)`
		ctx := 1
		_ = ctx
		return u, err
	})
	users.DoContext(ctx, id, func(_ context.Context) (*user, error) {
		u, err := load(ctx, id) // want `ctx is the context of the caller .*\(no fix: fn declares a ctx of its own\)`
		ctx := 1
		_ = ctx
		return u, err
	})
}

func right(ctx context.Context, id int) {
	users.DoContext(ctx, id, func(ctx context.Context) (*user, error) {
		return load(ctx, id)
	})
	users.DoContext(ctx, id, func(inner context.Context) (*user, error) {
		slog.InfoContext(ctx, "loading")
		return load(inner, id)
	})
	users.Fill(ctx, cache, id, func(context.Context) (*user, error) {
		return load(context.WithoutCancel(ctx), id)
	})
}
