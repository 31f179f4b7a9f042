// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package fixed has calls that are fixed, in all files of the package.
package fixed

import (
	"context"
	"fmt"
	"sync"
	"time"

	sf "golang.org/x/sync/singleflight"
	"slog"
)

type store struct {
	group sf.Group
	cache map[string]any
	name  string
	mu    sync.Mutex
}

func load(ctx context.Context, id string) (any, error) { return id, ctx.Err() }

func start(ctx context.Context, name string) (context.Context, func()) { return ctx, func() {} }

func (s *store) parameter(ctx context.Context, id string) (any, error) {
	v, err, _ := s.group.Do(id, func() (any, error) {
		return load(ctx, id) // want `ctx belongs to the caller that starts the flight: when it is canceled, every other caller fails; use DoContext, which cancels fn only when no caller is left$`
	})
	return v, err
}

func (s *store) derived(parent context.Context, id string) (any, error) {
	ctx, cancel := context.WithTimeout(parent, time.Second)
	defer cancel()
	v, err, _ := s.group.Do(id, func() (any, error) {
		return load(ctx, id) // want `ctx belongs to the caller`
	})
	return v, err
}

func (s *store) reassigned(ctx context.Context, id string) (any, error) {
	ctx = context.WithValue(ctx, "key", id)
	v, err, _ := s.group.Do(id, func() (any, error) {
		slog.InfoContext(ctx, "loading")
		select {
		case <-ctx.Done(): // want `ctx belongs to the caller`
			return nil, ctx.Err()
		default:
			return load(ctx, id)
		}
	})
	return v, err
}

func (s *store) span(ctx context.Context, id string) (any, error) {
	v, err, _ := s.group.Do(id, func() (any, error) {
		ctx, end := start(ctx, "load") // want `ctx belongs to the caller`
		defer end()
		return load(ctx, id)
	})
	return v, err
}

func (s *store) conditional(ctx context.Context, id string, detach bool) (any, error) {
	if detach {
		ctx = context.Background()
	}
	v, err, _ := s.group.Do(id, func() (any, error) {
		return load(ctx, id) // want `ctx belongs to the caller`
	})
	return v, err
}

// The report names Fill, but DoContext too is better than Do.
func (s *store) stores(ctx context.Context, id string) (any, error) {
	v, err, _ := s.group.Do(id, func() (any, error) {
		v, err := load(ctx, id) // want `ctx belongs to the caller .*; use Fill, which finishes the load for the cache, or DoContext, which cancels it when no caller is left$`
		if err == nil {
			s.cache[id] = v
		}
		return v, err
	})
	return v, err
}

// An any in the key does not count as one in the result.
func (s *store) anyKey(ctx context.Context, key any) {
	s.group.Do(fmt.Sprint(key), func() (any, error) {
		return find(ctx, key) // want `ctx belongs to the caller`
	})
}

func find(ctx context.Context, key any) (any, error) { return key, ctx.Err() }

func (s *store) close(id string) {}

// The store, which fn uses, outlives the caller, and id is a copy.
func (s *store) deferred(ctx context.Context, id string) {
	defer s.close(id)
	kind := &id
	defer func() { println(kind) }()
	s.mu.Lock()
	s.mu.Unlock()
	func() {
		s.mu.Lock()
		defer s.mu.Unlock()
	}()
	s.group.Do(id, func() (any, error) {
		return load(ctx, *kind+s.name) // want `ctx belongs to the caller`
	})
	s.mu.Lock()
	defer s.mu.Unlock()
}

type carrier interface{ Context() context.Context }

func inLiteral(s *store) func(context.Context, string) error {
	return func(ctx context.Context, id string) error {
		_, err, _ := s.group.Do(id, func() (any, error) {
			func() {
				load(ctx, id) // want `ctx belongs to the caller`
			}()
			return nil, nil
		})
		return err
	}
}
