package main

import (
	"example.com/singleflight"
	"github.com/dgraph-io/ristretto/v2"
)

// A Ristretto is a cache of dgraph-io/ristretto, whose Set and Del go through a
// queue.
//
// Wait in Delete is what makes Invalidate keep its promise. Without it, an old
// value that is still in the queue comes into the cache after Delete has
// returned, and stays until the queue has come to the deletion. Wait in Set
// saves loads: without it, a Get that comes soon after finds nothing. Either
// waits for what is in the queue, which is microseconds.
//
// Set may drop a value, when the queue is full or because others are asked for
// more often. Then the next Fill loads it again.
//
// OnEvict, OnReject and Cost run on the goroutine that Wait waits for, and
// OnExit there and in Set and Delete: they must not call Forget or Invalidate.
type Ristretto[K ristrettoKey, V any] struct{ cache *ristretto.Cache[K, V] }

type ristrettoKey interface {
	comparable
	ristretto.Key
}

func (c Ristretto[K, V]) Get(key K) (V, bool) { return c.cache.Get(key) }
func (c Ristretto[K, V]) Set(key K, value V) {
	c.cache.Set(key, value, 1)
	c.cache.Wait()
}
func (c Ristretto[K, V]) Delete(key K) {
	c.cache.Del(key)
	c.cache.Wait()
}

func newRistretto[K ristrettoKey, V any]() (cache singleflight.Cache[K, V], stop func()) {
	c, err := ristretto.NewCache(&ristretto.Config[K, V]{
		NumCounters:        10 * maxEntries,
		MaxCost:            maxEntries,
		BufferItems:        64,
		IgnoreInternalCost: true,
	})
	if err != nil {
		panic(err) // a number is not positive
	}
	return Ristretto[K, V]{c}, c.Close
}
