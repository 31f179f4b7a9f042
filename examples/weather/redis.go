// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	redisLimit = 250 * time.Millisecond // on one command; the service continues without Redis
	genTTL     = time.Minute            // longer than a load takes; a misspelled name is kept no longer
)

// A sharedCache keeps readings for a while in a place that several processes
// share, and drops those that have been overwritten. Invalidate forgets the loads
// of one process only, so each key has a generation there, which Drop changes. A
// load notes the generation before it reads the database, and its reading is kept
// only if the generation is still the same.
type sharedCache interface {
	// Get returns the reading kept under k. If there is none, it notes the
	// generation of k, and returns a function that keeps a reading which was
	// loaded after that. The function reports false if the load must be
	// repeated: a write has overtaken it, and a client that came after the
	// answer to the write may wait for it.
	Get(ctx context.Context, k key) (r reading, keep func(context.Context, reading) bool, ok bool)

	// Drop changes the generation of k and drops its reading, in one step.
	// Call it after the write and before its answer. If it fails, an old
	// reading may be kept until it expires.
	Drop(ctx context.Context, k key) error
}

const maxTries = 3 // loads in one flight, if writes overtake them

// readShared returns the reading that c keeps under k, or the result of query.
// Call it inside a flight: then ten thousand clients that miss ask c once, and
// not ten thousand times.
func readShared(ctx context.Context, c sharedCache, k key, query func(context.Context, key) (reading, error)) (answer, error) {
	for try := 1; ; try++ {
		r, keep, ok := c.Get(ctx, k)
		if ok {
			return answer{reading: r, Source: "cache"}, nil
		}
		r, err := query(ctx, k)
		if err != nil {
			return answer{}, err
		}
		// If a PUT has changed the generation, r is not kept. That PUT may have
		// been in another process, which cannot forget this flight. A client
		// that joined after it must not get the old row. The last try returns r
		// in any case, so that the flight ends.
		if keep(ctx, r) || try == maxTries {
			return answer{reading: r, Source: "load"}, nil
		}
	}
}

// A redisCache is a sharedCache in Redis.
//
// A generation is a random string in Redis. The first reader to miss sets it,
// Drop deletes it together with the entry, and a reading is kept only if the
// string from before the load is still there. Each of these steps is atomic,
// because it runs inside Redis.
//
// It is tempting to use a counter and INCR, but a counter that was lost (to a
// restart, an eviction, or its expiry) begins at zero again, and may then match
// what a load noted before a write. A random string that was lost does not come
// back, so it need not live longer than a load.
type redisCache struct {
	client *redis.Client
	ttl    time.Duration
	limit  time.Duration // on each command
	log    *slog.Logger

	outage atomic.Uint32 // odd while Redis is out of service
}

func newRedisCache(addr string, ttl time.Duration, log *slog.Logger) *redisCache {
	return &redisCache{
		client: redis.NewClient(&redis.Options{
			Addr: addr,
			// The context in talk limits everything.
			ContextTimeoutEnabled: true,
			DialerRetries:         1,
			MaxRetries:            -1,
			// Send no commands but those of this file.
			DisableIdentity:          true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}),
		ttl:   ttl,
		limit: redisLimit,
		log:   log,
	}
}

// In a cluster, the braces keep both keys on one node.
func (k key) entry() string      { return "weather:{" + k.city + "}" }
func (k key) generation() string { return "weather:{" + k.city + "}:generation" }

var (
	// KEYS: entry, generation. ARGV: a new generation, its time to live in milliseconds.
	redisGet = redis.NewScript(`
		local entry = redis.call("GET", KEYS[1])
		if entry then return {entry, ""} end
		redis.call("SET", KEYS[2], ARGV[1], "NX")
		redis.call("PEXPIRE", KEYS[2], ARGV[2]) -- it lasts as long as a load that notes it now
		return {"", redis.call("GET", KEYS[2])}`)

	// KEYS: entry, generation. ARGV: the generation noted, the reading, its time to live in milliseconds.
	redisKeep = redis.NewScript(`
		if redis.call("GET", KEYS[2]) ~= ARGV[1] then return 0 end
		redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
		return 1`)
)

func (c *redisCache) Get(ctx context.Context, k key) (r reading, keep func(context.Context, reading) bool, ok bool) {
	keys := []string{k.entry(), k.generation()}
	var got []string // the entry and the generation, one of them empty
	err := c.talk(ctx, false, func(ctx context.Context) (err error) {
		got, err = redisGet.Run(ctx, c.client, keys, rand.Text(), genTTL.Milliseconds()).StringSlice()
		return err
	})
	if err == nil && got[0] != "" {
		if err = json.Unmarshal([]byte(got[0]), &r); err == nil {
			return r, nil, true
		}
	}
	if err != nil { // no generation was noted, so the reading is not kept
		return r, func(context.Context, reading) bool { return true }, false
	}
	return r, func(ctx context.Context, r reading) bool {
		value, err := json.Marshal(r)
		if err != nil {
			return true
		}
		var kept bool
		err = c.talk(ctx, true, func(ctx context.Context) (err error) {
			kept, err = redisKeep.Run(ctx, c.client, keys, got[1], value, c.ttl.Milliseconds()).Bool()
			return err
		})
		return kept || err != nil
	}, false
}

func (c *redisCache) Drop(ctx context.Context, k key) error {
	return c.talk(ctx, true, func(ctx context.Context) error {
		return c.client.Del(ctx, k.entry(), k.generation()).Err()
	})
}

// talk runs op with a time limit. It logs the beginning and the end of an outage
// once each, however many calls notice it. An outage ends with a successful
// write.
func (c *redisCache) talk(ctx context.Context, write bool, op func(context.Context) error) error {
	outage := c.outage.Load()
	bound, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	err := op(bound)
	if ctx.Err() != nil {
		return err // the service is stopping, so this is not an outage
	}
	out := outage%2 == 1
	// A call that began before the last change must not change anything.
	switch {
	case err != nil && !out && c.outage.CompareAndSwap(outage, outage+1):
		c.log.Warn("redis is out of service, loading without it", "err", err)
	case err == nil && out && write && c.outage.CompareAndSwap(outage, outage+1):
		c.log.Info("redis is back")
	}
	return err
}

// quiet replaces go-redis's logger, which logs each connection. talk logs an
// outage once.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(quiet{}) }
