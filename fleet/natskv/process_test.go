// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv_test

import (
	"context"
	"os"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/fleettest"
	"example.com/singleflight/fleet/natskv"
)

func TestMain(m *testing.M) {
	if cfg := os.Getenv("FLEET_NODE"); cfg != "" {
		serveNode(cfg)
		return
	}
	fleettest.Main(m, openURL, "fleet/natskv.", "jetstream.(*kvs)")
}

// openURL returns an Engine on the bucket, for the rest of the process.
func openURL(url string) (engine.Engine, error) {
	nc, err := nats.Connect(url, nats.MaxReconnects(-1))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return natskv.Open(context.Background(), js, bucket)
}

// serveOne starts a server with a bucket, and serveThree a cluster.
func serveOne(t testing.TB) fleettest.Server {
	t.Helper()
	w := newWorld(t, 0)
	return forProcesses(t, w.js, w.srv.ClientURL())
}

func serveThree(t testing.TB) fleettest.Server {
	t.Helper()
	c := newCluster(t)
	return forProcesses(t, c.js, c.urls(0))
}

func forProcesses(t testing.TB, js jetstream.JetStream, url string) fleettest.Server {
	t.Helper()
	return fleettest.Server{
		Address: url,
		Engine:  open(t, js),
		Watches: func(key string) int { return watches(js, key) },
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
