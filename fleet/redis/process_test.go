// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis_test

import (
	"context"
	"strings"
	"testing"

	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/fleettest"
	"example.com/singleflight/fleet/redis"
)

func TestMain(m *testing.M) {
	goredis.SetLogger(silence{})
	fleettest.Main(m, openAddresses, "singleflight/fleet/redis.")
}

// openAddresses returns an Engine on a server, or on the nodes of a cluster, for
// the rest of the process.
func openAddresses(addrs string) (engine.Engine, error) {
	client := goredis.NewUniversalClient(&goredis.UniversalOptions{Addrs: strings.Split(addrs, ",")})
	return redis.Open(context.Background(), client, prefix)
}

// serveOne starts a server, and serveThree a cluster.
func serveOne(t testing.TB) fleettest.Server {
	t.Helper()
	s := serve(t)
	return fleettest.Server{Address: s.addr(), Engine: open(t, s.dial()), Watches: s.watches}
}

func serveThree(t testing.TB) fleettest.Server {
	t.Helper()
	c := newCluster(t, 0)
	var addrs []string
	for _, s := range c.nodes {
		addrs = append(addrs, s.addr())
	}
	return fleettest.Server{
		Address: strings.Join(addrs, ","),
		Engine:  open(t, c.dial(t)),
		Watches: func(key string) (n int) {
			for _, s := range c.nodes {
				n += s.watches(key)
			}
			return n
		},
	}
}

// Several processes on one server: see package fleettest.

func TestManyProcessesOneLoad(t *testing.T)   { fleettest.ManyProcessesOneLoad(t, serveOne) }
func TestKilledLoaderIsReplaced(t *testing.T) { fleettest.KilledLoaderIsReplaced(t, serveOne) }
func TestFrozenLoaderIsReplaced(t *testing.T) { fleettest.FrozenLoaderIsReplaced(t, serveOne) }
func TestFailureReachesEveryOtherProcess(t *testing.T) {
	fleettest.FailureReachesEveryOtherProcess(t, serveOne)
}
func TestLastCallerLeavingItsProcessHandsOver(t *testing.T) {
	fleettest.LastCallerLeavingItsProcessHandsOver(t, serveOne)
}
func TestLoadOutlastsTheLeaseOfItsProcess(t *testing.T) {
	fleettest.LoadOutlastsTheLeaseOfItsProcess(t, serveOne)
}
