package main

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/jellydator/ttlcache/v3"
)

// A cache keeps readings for a while, and drops those that were written over.
//
// Each key has a generation, which Drop moves. A load notes it before it
// reads the database, and what was read is kept only if it has not moved
// meanwhile. Without that, the order of things is not enough: a load reads
// the old row, a write drops the entry, and then the load stores the old row.
type cache interface {
	// Get returns the reading kept under k. If there is none, it notes the
	// generation of k, and returns the function that keeps a reading which
	// was loaded since. That one reports false if the load must be done over:
	// a write has overtaken it, and somebody who came after the write was
	// answered may wait for it.
	Get(ctx context.Context, k key) (r reading, keep func(context.Context, reading) bool, ok bool)

	// Drop moves the generation of k and drops what is kept, in one step.
	// Call it after the write and before its answer. If it fails, an old
	// reading may be kept until its time is over.
	Drop(ctx context.Context, k key) error
}

// A memory is the cache of one process.
type memory struct {
	mu      sync.Mutex
	entries *ttlcache.Cache[key, reading]

	// The generations. Keys share them, so that the table cannot grow: two
	// that fall on the same one cost each other a load now and then.
	gens [1024]uint64
	seed maphash.Seed
}

func newMemory(ttl time.Duration) *memory {
	return &memory{
		// Without DisableTouchOnHit a city that is asked for would never
		// expire. Only cities that exist are stored, so that neither a
		// capacity nor the cleaning goroutine (Start) is needed.
		entries: ttlcache.New(
			ttlcache.WithTTL[key, reading](ttl),
			ttlcache.WithDisableTouchOnHit[key, reading](),
		),
		seed: maphash.MakeSeed(),
	}
}

func (m *memory) Get(_ context.Context, k key) (r reading, keep func(context.Context, reading) bool, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries.Get(k); e != nil {
		return e.Value(), nil, true
	}
	gen := *m.genLocked(k)
	return r, func(_ context.Context, r reading) bool {
		// Tempting: compare first, then lock and store. The write that comes
		// in between has dropped nothing yet.
		m.mu.Lock()
		defer m.mu.Unlock()
		if *m.genLocked(k) == gen {
			m.entries.Set(k, r, ttlcache.DefaultTTL)
		}
		return true // PUT forgets the flight: who comes after it does not wait for r
	}, false
}

func (m *memory) Drop(_ context.Context, k key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	*m.genLocked(k)++
	m.entries.Delete(k)
	return nil
}

func (m *memory) genLocked(k key) *uint64 {
	return &m.gens[maphash.Comparable(m.seed, k)%uint64(len(m.gens))]
}
