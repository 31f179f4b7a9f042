package singleflight_test

import (
	"sync"
	"testing"

	"example.com/singleflight"
	xsync "golang.org/x/sync/singleflight"
)

type user struct {
	ID   int
	Name string
}

type floor[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]*V
	r  *V
}

func (f *floor[K, V]) Do(key K, fn func() (V, error)) (V, error, bool) {
	f.mu.Lock()
	if _, ok := f.m[key]; ok {
		panic("unreachable")
	}
	f.m[key] = f.r
	f.mu.Unlock()
	v, err := fn()
	f.mu.Lock()
	delete(f.m, key)
	f.mu.Unlock()
	return v, err, false
}

func BenchmarkDo(b *testing.B) {
	b.Run("solo/ours", func(b *testing.B) {
		b.ReportAllocs()
		var g singleflight.Group[string, user]
		for b.Loop() {
			g.Do("k", func() (user, error) { return alice, nil })
		}
	})
	b.Run("solo/floor", func(b *testing.B) {
		b.ReportAllocs()
		g := floor[string, user]{m: map[string]*user{}, r: new(user)}
		for b.Loop() {
			g.Do("k", func() (user, error) { return alice, nil })
		}
	})
	b.Run("solo/xsync", func(b *testing.B) {
		b.ReportAllocs()
		var g xsync.Group
		for b.Loop() {
			g.Do("k", func() (any, error) { return alice, nil })
		}
	})
}

var alice = user{1, "alice"}

func BenchmarkShard(b *testing.B) {
	b.Run("solo/group", func(b *testing.B) {
		b.ReportAllocs()
		var g singleflight.Group[string, user]
		for b.Loop() {
			g.Do("k", func() (user, error) { return alice, nil })
		}
	})
	b.Run("solo/sharded", func(b *testing.B) {
		b.ReportAllocs()
		var g singleflight.ShardedGroup[string, user]
		for b.Loop() {
			g.Do("k", func() (user, error) { return alice, nil })
		}
	})
	b.Run("solo/sharded128", func(b *testing.B) {
		b.ReportAllocs()
		var g singleflight.ShardedGroup[[16]uint64, user]
		for b.Loop() {
			g.Do([16]uint64{1, 2, 3}, func() (user, error) { return alice, nil })
		}
	})
}
