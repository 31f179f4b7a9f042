// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet"
)

// A cluster is an engine of three nodes.
type cluster struct {
	t    testing.TB
	opts [3]*server.Options
	srv  [3]*server.Server // nil while stopped
	js   jetstream.JetStream
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var routes []*url.URL
	for i := range c.opts {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := ln.Addr().(*net.TCPAddr).Port
		defer ln.Close()
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: ln.Addr().String()})
		c.opts[i] = &server.Options{
			ServerName: fmt.Sprint("node", i),
			StoreDir:   t.TempDir(),
			Cluster:    server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: port},
		}
		ln.Close()
	}
	for i := range c.opts {
		c.opts[i].Routes = routes
		c.start(i)
	}
	c.js = dial(t, c.urls(0))
	until(t, "the bucket", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return fleet.CreateBucket(ctx, c.js, jetstream.KeyValueConfig{Bucket: bucket, Replicas: 3}) == nil
	})
	c.settled()
	return c
}

func (c *cluster) start(i int) { c.srv[i] = serve(c.t, c.opts[i]) }

func (c *cluster) stop(i int) {
	stop(c.srv[i])
	c.srv[i] = nil
}

// urls are those of all nodes, node i first.
func (c *cluster) urls(i int) string {
	var urls []string
	for n := range c.opts {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", c.opts[(i+n)%3].Port))
	}
	return strings.Join(urls, ",")
}

func (c *cluster) leader() int {
	c.t.Helper()
	leader := -1
	until(c.t, "a leader", func() bool {
		for i, s := range c.srv {
			if s != nil && s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, "KV_"+bucket) {
				leader = i
			}
		}
		return leader >= 0
	})
	return leader
}

// settled waits until the nodes that run have a leader and are in step.
func (c *cluster) settled() {
	c.t.Helper()
	until(c.t, "nodes in step", func() bool {
		led := false
		for _, s := range c.srv {
			if s == nil {
				continue
			}
			if !s.JetStreamIsCurrent() || !s.JetStreamIsStreamCurrent(server.DEFAULT_GLOBAL_ACCOUNT, "KV_"+bucket) {
				return false
			}
			led = led || s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, "KV_"+bucket)
		}
		return led && watches(c.js, "") >= 0
	})
}

// Three nodes lose a follower, get it back, and lose the leader, each time
// while a load is under way. Who is connected to the node that is lost falls
// back; nobody else notices.
func TestCluster(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t)
	var groups []*fleet.Group[string]
	for i := range 6 {
		js := dial(t, c.urls(i%3), nats.DontRandomize())
		groups = append(groups, newGroup[string](t, js, fleet.Linger(time.Minute), fleet.EngineTimeout(patience)))
	}
	round := 0
	one := func(what string, lose int) {
		t.Helper()
		round++
		key := fmt.Sprint("k", round)
		begun := make(chan int, len(groups))
		release := make(chan struct{})
		var before fleet.Stats
		var calls []*call
		for i, g := range groups {
			before.Fallbacks += g.Stats().Fallbacks
			calls = append(calls, start(t, g, key, func(context.Context) (string, error) {
				begun <- i
				<-release
				return fmt.Sprint(key, " by ", i), nil
			}))
		}
		until(t, "six watches "+what, func() bool { return watches(c.js, key) == 6 })
		if lose >= 0 {
			c.stop(lose)
			c.settled()
		}
		close(release)
		by := make(map[string]int)
		for i, call := range calls {
			a := call.wait(t)
			if a.err != nil || !strings.HasPrefix(a.v, key+" by ") {
				t.Errorf("%s: caller %d got %+v", what, i, a)
			}
			by[a.v]++
		}
		var after fleet.Stats
		for _, g := range groups {
			s := g.Stats()
			after.Fallbacks += s.Fallbacks
			after.Takeovers += s.Takeovers
		}
		fallbacks := int(after.Fallbacks - before.Fallbacks)
		most := 0
		if lose >= 0 {
			most = 2 // were connected to it
		}
		if fallbacks > most || len(begun) != 1+fallbacks || after.Takeovers != 0 {
			t.Errorf("%s: %d loads, %d fallbacks, %d takeovers, want 1 load and one for each of at most %d fallbacks: %v",
				what, len(begun), fallbacks, after.Takeovers, most, by)
		}
		t.Logf("%s: %d loads, %d fallbacks", what, len(begun), fallbacks)
	}

	one("with three nodes", -1)
	follower := (c.leader() + 1) % 3
	one("losing a follower", follower)
	one("with two nodes", -1)
	c.start(follower)
	c.settled()
	one("with three again", -1)
	one("losing the leader", c.leader())
	one("with the two that are left", -1)
}
