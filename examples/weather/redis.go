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
	redisLimit = 250 * time.Millisecond // for one word with Redis; the service goes on without it
	genTTL     = time.Minute            // more than a load takes, and all that a misspelt name costs
)

// A sharedCache keeps readings for a while in a place that several processes
// share, and drops those that were written over. Invalidate forgets the loads
// of one process only, so each key has a generation there, which Drop moves. A
// load notes it before it reads the database, and what was read is kept only if
// it has not moved meanwhile.
type sharedCache interface {
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

const maxTries = 3 // of a load that a write overtakes

// readShared returns the reading that c keeps under k, or else what query
// returns. It belongs inside a flight: the ten thousand who miss would be ten
// thousand questions to c, and within the flight they are one.
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
		// If a PUT has moved the generation, r is not kept; and if that PUT was
		// in another process, which cannot forget this flight, a client that has
		// joined since must not get the old row.
		if keep(ctx, r) || try == maxTries {
			return answer{reading: r, Source: "load"}, nil
		}
	}
}

// A redisCache is the sharedCache.
//
// A generation is a random string in Redis. The first reader to miss begins
// it, Drop deletes it together with the entry, and a reading is kept only if
// the string that was there before the load is still there: all that happens
// to it happens inside Redis, one step at a time, whichever process asked.
//
// It is tempting to use a counter, moved by INCR. But one that was lost (to a
// restart, an eviction, its expiry) begins at zero again, just as a load noted it
// before the write. A random string that was lost does not come back, so that
// nothing is kept, and neither does it have to live longer than a load.
type redisCache struct {
	client *redis.Client
	ttl    time.Duration
	limit  time.Duration // on each word with Redis
	log    *slog.Logger

	outage atomic.Uint32 // odd while Redis is out of service
}

func newRedisCache(addr string, ttl time.Duration, log *slog.Logger) *redisCache {
	return &redisCache{
		client: redis.NewClient(&redis.Options{
			Addr: addr,
			// The bound on everything is the context's, in talk.
			ContextTimeoutEnabled: true,
			DialerRetries:         1,
			MaxRetries:            -1,
			// Nothing is said to Redis that nobody asked for.
			DisableIdentity:          true,
			MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}),
		ttl:   ttl,
		limit: redisLimit,
		log:   log,
	}
}

// The braces keep both on one node of a cluster.
func (k key) entry() string      { return "weather:{" + k.city + "}" }
func (k key) generation() string { return "weather:{" + k.city + "}:generation" }

var (
	// KEYS: entry, generation. ARGV: a new generation, its milliseconds.
	redisGet = redis.NewScript(`
		local entry = redis.call("GET", KEYS[1])
		if entry then return {entry, ""} end
		redis.call("SET", KEYS[2], ARGV[1], "NX")
		redis.call("PEXPIRE", KEYS[2], ARGV[2]) -- a load that notes it has all its time
		return {"", redis.call("GET", KEYS[2])}`)

	// KEYS: entry, generation. ARGV: the generation noted, the reading, its milliseconds.
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
	if err != nil { // nothing was noted, so nothing will be kept
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

// talk bounds what op has to say to Redis, and notes when an outage begins
// and ends: once each, however many find out. Redis is back when it has been
// written to.
func (c *redisCache) talk(ctx context.Context, write bool, op func(context.Context) error) error {
	outage := c.outage.Load()
	bound, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	err := op(bound)
	if ctx.Err() != nil {
		return err // the service ends, which is not Redis's fault
	}
	out := outage%2 == 1
	// Who began before the last change has nothing new to say.
	switch {
	case err != nil && !out && c.outage.CompareAndSwap(outage, outage+1):
		c.log.Warn("redis is out of service, loading without it", "err", err)
	case err == nil && out && write && c.outage.CompareAndSwap(outage, outage+1):
		c.log.Info("redis is back")
	}
	return err
}

// quiet is go-redis's logger: what it would say of each connection, talk says
// once.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func init() { redis.SetLogger(quiet{}) }
