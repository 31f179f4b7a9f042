// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package a looks into caches around flights.
package a

import (
	"context"
	"sync"

	ours "example.com/singleflight"
	"golang.org/x/sync/singleflight"
)

type lru struct{}

func (*lru) Get(key string) (any, bool)               { return nil, false }
func (*lru) Set(key string, v any)                    {}
func (*lru) Add(ctx context.Context, k string, v any) {}

type store struct {
	g     singleflight.Group
	mu    sync.Mutex
	cache *lru
	other *lru
	m     map[string]any
	sm    sync.Map
}

func load(id string) (any, error) { return id, nil }

func (s *store) notAgain(id string) (any, error) {
	if v, ok := s.cache.Get(id); ok {
		return v, nil
	}
	v, err, _ := s.g.Do(id, func() (any, error) { // want `s.cache is looked into before Do but not inside fn: a caller that missed just before a flight ended loads again; look again inside fn, or use Fill`
		v, err := load(id)
		if err == nil {
			s.cache.Set(id, v)
		}
		return v, err
	})
	return v, err
}

func (s *store) again(id string) (any, error) {
	if v, ok := s.cache.Get(id); ok {
		return v, nil
	}
	v, err, _ := s.g.Do(id, func() (any, error) {
		if v, ok := s.cache.Get(id); ok {
			return v, nil
		}
		v, err := load(id)
		if err == nil {
			s.cache.Set(id, v)
		}
		return v, err
	})
	return v, err
}

func (s *store) mapNotAgain(id string) (any, error) {
	s.mu.Lock()
	v, ok := s.m[id]
	s.mu.Unlock()
	if ok {
		return v, nil
	}
	v, err, _ := s.g.Do(id, func() (any, error) { // want `s.m is looked into before Do but not inside fn`
		v, err := load(id)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.m[id] = v
		return v, err
	})
	return v, err
}

func (s *store) mapAgain(id string) (any, error) {
	if v, ok := s.m[id]; ok {
		return v, nil
	}
	v, err, _ := s.g.Do(id, func() (any, error) {
		if v, ok := s.m[id]; ok {
			return v, nil
		}
		v, err := load(id)
		s.m[id] = v
		return v, err
	})
	return v, err
}

func (s *store) syncMap(id string) (any, error) {
	if v, ok := s.sm.Load(id); ok {
		return v, nil
	}
	r := <-s.g.DoChan(id, func() (any, error) { // want `s.sm is looked into before DoChan but not inside fn`
		v, err := load(id)
		s.sm.Store(id, v)
		return v, err
	})
	return r.Val, r.Err
}

func (s *store) after(id string) (any, error) {
	if v, ok := s.cache.Get(id); ok {
		return v, nil
	}
	v, err, _ := s.g.Do(id, func() (any, error) { return load(id) }) // want `what Do returned is stored in s.cache after it: callers in between load again; store inside fn, and look there first, or use Fill`
	if err != nil {
		return nil, err
	}
	text := v.(string)
	s.cache.Set(id, text)
	return text, nil
}

func (s *store) afterVar(id string) (any, error) {
	if v, ok := s.cache.Get(id); ok {
		return v, nil
	}
	var v, err, _ = s.g.Do(id, func() (any, error) { return load(id) }) // want `what Do returned is stored in s.cache after it`
	if err == nil {
		s.cache.Set(id, v)
	}
	return v, err
}

func (s *store) afterChan(ctx context.Context, id string) (any, error) {
	if v, ok := s.cache.Get(id); ok {
		return v, nil
	}
	ch := s.g.DoChan(id, func() (any, error) { return load(id) }) // want `what DoChan returned is stored in s.cache after it`
	select {
	case r := <-ch:
		s.cache.Add(ctx, id, r.Val)
		return r.Val, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// The functions of the package are followed.
func (s *store) helpers(id string) (any, error) {
	if v := s.lookup(id); v != nil {
		return v, nil
	}
	v, err, _ := s.g.Do(id, func() (any, error) { return s.fetch(id) }) // want `s.cache is looked into before Do but not inside fn`
	return v, err
}

func (s *store) lookup(id string) any {
	v, _ := s.cache.Get(id)
	return v
}

func (s *store) fetch(id string) (any, error) {
	v, err := load(id)
	s.cache.Set(id, v)
	return v, err
}

func (s *store) fetchAgain(id string) (any, error) {
	if v := s.lookup(id); v != nil {
		return v, nil
	}
	return s.fetch(id)
}

func (s *store) helpersAgain(id string) (any, error) {
	if v := s.lookup(id); v != nil {
		return v, nil
	}
	v, err, _ := s.g.Do(id, func() (any, error) { return s.fetchAgain(id) })
	return v, err
}

func (s *store) method(id string) (any, error) {
	if v := s.lookup(id); v != nil {
		return v, nil
	}
	v, err, _ := s.g.Do(id, s.fetcher) // want `s.cache is looked into before Do but not inside fn`
	return v, err
}

func (s *store) fetcher() (any, error) { return s.fetch("") }

// These are two caches.
func (s *store) otherCache(id string) (any, error) {
	if v, ok := s.other.Get(id); ok {
		return v, nil
	}
	v, err, _ := s.g.Do(id, func() (any, error) {
		v, err := load(id)
		s.cache.Set(id, v)
		return v, err
	})
	return v, err
}

// This one looks into no cache.
func (s *store) onlyStores(id string) (any, error) {
	v, err, _ := s.g.Do(id, func() (any, error) {
		v, err := load(id)
		s.cache.Set(id, v)
		return v, err
	})
	return v, err
}

// This one stores nothing.
func (s *store) onlyLooks(id string) (any, error) {
	if v, ok := s.cache.Get(id); ok {
		return v, nil
	}
	v, err, _ := s.g.Do(id, func() (any, error) { return load(id) })
	return v, err
}

// The handlers have nothing to do with each other.
func (s *store) handlers() (get, refresh func(id string)) {
	get = func(id string) { s.cache.Get(id) }
	refresh = func(id string) {
		s.g.Do(id, func() (any, error) {
			v, err := load(id)
			s.cache.Set(id, v)
			return v, err
		})
	}
	return get, refresh
}

type users struct {
	g     ours.Group[string, any]
	cache ours.Cache[string, any]
}

func (u *users) doContext(ctx context.Context, id string) (any, error) {
	if v, ok := u.cache.Get(id); ok {
		return v, nil
	}
	v, err, _ := u.g.DoContext(ctx, id, func(ctx context.Context) (any, error) { // want `u.cache is looked into before DoContext but not inside fn`
		v, err := load(id)
		u.cache.Set(id, v)
		return v, err
	})
	return v, err
}

func (u *users) fill(ctx context.Context, id string) (any, error) {
	v, err, _ := u.g.Fill(ctx, u.cache, id, func(ctx context.Context) (any, error) { return load(id) })
	return v, err
}

// Fill looks again by itself.
func (u *users) fillAndStore(ctx context.Context, id string) (any, error) {
	if v, ok := u.cache.Get(id); ok {
		return v, nil
	}
	v, err, _ := u.g.Fill(ctx, u.cache, id, func(ctx context.Context) (any, error) {
		v, err := load(id)
		u.cache.Set(id, v)
		return v, err
	})
	return v, err
}

func (s *store) inLiteral() func(id string) (any, error) {
	return func(id string) (any, error) {
		if v, ok := s.cache.Get(id); ok {
			return v, nil
		}
		v, err, _ := s.g.Do(id, func() (any, error) { // want `s.cache is looked into before Do but not inside fn`
			v, err := load(id)
			s.cache.Set(id, v)
			return v, err
		})
		return v, err
	}
}

// Something else is stored afterwards.
func (s *store) storesOther(id string) (any, error) {
	if v, ok := s.cache.Get(id); ok {
		return v, nil
	}
	v, err, shared := s.g.Do(id, func() (any, error) { return load(id) })
	s.cache.Set("shared", shared)
	s.cache.Set("failed", err)
	return v, err
}
