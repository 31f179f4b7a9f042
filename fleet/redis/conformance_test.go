// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/enginetest"
	"example.com/singleflight/fleet/internal/fleettest"
)

var stores atomic.Int64

// store is for one test of the suite, on a server that several may share.
func store(t testing.TB, dial func(testing.TB) goredis.UniversalClient) enginetest.Store {
	prefix := fmt.Sprint("suite", stores.Add(1))
	admin := dial(t)
	return enginetest.Store{
		Connect: func(t testing.TB) (engine.Engine, func()) {
			e := openAt(t, dial(t), prefix)
			return e, func() { e.Close() }
		},
		Oversize: 8<<20 + 1,
		Watches: func() int {
			n := 0
			count := func(ctx context.Context, c *goredis.Client) error {
				channels, err := c.PubSubChannels(ctx, prefix+":{*").Result()
				if err != nil {
					return err
				}
				numbers, err := c.PubSubNumSub(ctx, channels...).Result()
				for _, number := range numbers {
					n += int(number)
				}
				return err
			}
			var err error
			switch c := admin.(type) {
			case *goredis.Client:
				err = count(t.Context(), c)
			case *goredis.ClusterClient: // one after the other
				for _, addr := range c.Options().Addrs {
					if err == nil {
						err = count(t.Context(), dialOne(t, addr))
					}
				}
			}
			if err != nil {
				t.Error(err)
			}
			return n
		},
	}
}

func dialOne(t testing.TB, addr string) *goredis.Client { return dial(t, addr) }

func TestConformance(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprint("RESP", protocol), func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			enginetest.Run(t, func(t testing.TB) enginetest.Store {
				return store(t, func(t testing.TB) goredis.UniversalClient {
					return s.dialFrom(t, func(o *goredis.Options) {
						o.Protocol, o.ContextTimeoutEnabled = protocol, protocol == 2
					})
				})
			})
		})
	}
}

func TestConformanceWithFaults(t *testing.T) {
	fleettest.Slow(t)
	t.Parallel()
	enginetest.RunFaults(t, func(t testing.TB) enginetest.Store {
		s := serve(t, "--appendonly", "yes", "--appendfsync", "always")
		store := store(t, func(t testing.TB) goredis.UniversalClient { return s.dialFrom(t) })
		store.Stop = func(t testing.TB) func() {
			s.kill()
			return s.start
		}
		store.Freeze = func(t testing.TB) func() {
			s.freeze()
			return s.thaw
		}
		return store
	})
}
