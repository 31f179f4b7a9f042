// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/internal/fleettest"
	"example.com/singleflight/fleet/natskv"
)

// A cluster is an engine of three nodes.
type cluster struct {
	t    testing.TB
	opts [3]*server.Options
	srv  [3]*server.Server // nil while stopped
	js   jetstream.JetStream
}

// freePort returns a port that is free, and not one of those that the system
// hands out by itself, to the tests beside this one.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 20_000 + rand.IntN(10_000)
		if ln, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port)); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var routes []*url.URL
	for i := range c.opts {
		port := freePort(t)
		routes = append(routes, &url.URL{Scheme: "nats-route", Host: fmt.Sprint("127.0.0.1:", port)})
		c.opts[i] = &server.Options{
			ServerName: fmt.Sprint("node", i),
			StoreDir:   t.TempDir(),
			Cluster:    server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: port},
		}
	}
	for i := range c.opts {
		c.opts[i].Routes = routes
		c.start(i)
	}
	c.js = dial(t, c.urls(0))
	fleettest.Until(t, "the bucket", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return natskv.CreateBucket(ctx, c.js, jetstream.KeyValueConfig{Bucket: bucket, Replicas: 3}) == nil
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
	fleettest.Until(c.t, "a leader", func() bool {
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
	fleettest.Until(c.t, "nodes in step", func() bool {
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
// while a load is under way. Processes that are connected to the lost node load
// without the engine; the others do not notice.
func TestCluster(t *testing.T) {
	fleettest.Slow(t)
	t.Parallel()
	c := newCluster(t)
	var groups []*fleet.Group[string]
	for i := range 6 {
		js := dial(t, c.urls(i%3), nats.DontRandomize())
		groups = append(groups, newGroup[string](t, js, fleet.Lease(4*fleettest.Patience), fleet.Linger(time.Minute), fleet.EngineTimeout(fleettest.Patience)))
	}
	round := 0
	one := func(what string, lose int) {
		t.Helper()
		round++
		key := fmt.Sprint("k", round)
		begun := make(chan int, len(groups))
		release := make(chan struct{})
		var before fleet.Stats
		var calls []*fleettest.Call
		for i, g := range groups {
			before.Fallbacks += g.Stats().Fallbacks
			calls = append(calls, fleettest.Start(t, g, key, func(context.Context) (string, error) {
				begun <- i
				<-release
				return fmt.Sprint(key, " by ", i), nil
			}))
		}
		fleettest.Until(t, "six watches "+what, func() bool { return watches(c.js, key) == 6 })
		if lose >= 0 {
			c.stop(lose)
			c.settled()
		}
		close(release)
		by := make(map[string]int)
		for i, call := range calls {
			a := call.Wait(t)
			if a.Err != nil || !strings.HasPrefix(a.V, key+" by ") {
				t.Errorf("%s: caller %d got %+v", what, i, a)
			}
			by[a.V]++
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

	// With one node of three nothing can be written, and every process loads for
	// itself in time. With two nodes they share loads again.
	js := dial(t, c.urls(0))
	hasty := newGroup[string](t, js, fleet.EngineTimeout(500*time.Millisecond))
	strict := newGroup[string](t, js, fleet.EngineTimeout(500*time.Millisecond), fleet.RequireEngine())
	last := slices.IndexFunc(c.srv[:], func(s *server.Server) bool { return s != nil })
	c.stop(last)
	if v, err, _ := hasty.DoContext(t.Context(), "alone", fleettest.Returns("v")); v != "v" || err != nil {
		t.Errorf("with one node: %q, %v, want v", v, err)
	}
	if _, err, _ := strict.DoContext(t.Context(), "strict", fleettest.Never); !errors.Is(err, fleet.ErrUnavailable) {
		t.Errorf("with one node, and RequireEngine: %v, want ErrUnavailable", err)
	}
	c.start(last)
	c.settled()
	fleettest.Until(t, "the engine to be back", func() bool {
		_, err, _ := strict.DoContext(t.Context(), "strict", fleettest.Returns("v"))
		return err == nil
	})
}

// A node is a process with a server of the cluster, that can be killed.
type node struct {
	Name              string
	Port, ClusterPort int
	Dir               string
	Routes            []string
	cmd               *exec.Cmd
}

func serveNode(raw string) {
	var n node
	if err := json.Unmarshal([]byte(raw), &n); err != nil {
		panic(err)
	}
	s, err := server.NewServer(&server.Options{
		ServerName: n.Name,
		Host:       "127.0.0.1", Port: n.Port,
		JetStream: true, StoreDir: n.Dir,
		Cluster: server.ClusterOpts{Name: "cluster", Host: "127.0.0.1", Port: n.ClusterPort},
		Routes:  server.RoutesFromStr(strings.Join(n.Routes, ",")),
		NoSigs:  true, NoLog: true,
	})
	if err != nil {
		panic(err)
	}
	s.Start()
	io.Copy(io.Discard, os.Stdin) // until the test ends
	os.Exit(0)
}

// The leader is killed. What is sent to it before another is elected, which takes
// seconds, is lost. The load's own callers have its result; the
// others do not wait for the end of the lease, but load again.
func TestLeaderKilledMidFlight(t *testing.T) {
	fleettest.Slow(t)
	t.Parallel()
	var nodes [3]*node
	var routes []string
	for i := range nodes {
		nodes[i] = &node{Name: fmt.Sprint("node", i), Port: freePort(t), ClusterPort: freePort(t), Dir: t.TempDir()}
		routes = append(routes, fmt.Sprintf("nats-route://127.0.0.1:%d", nodes[i].ClusterPort))
	}
	url := func(n *node) string { return fmt.Sprintf("nats://127.0.0.1:%d", n.Port) }
	for _, n := range nodes {
		n.Routes = routes
		raw, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		n.cmd = exec.Command(os.Args[0])
		n.cmd.Env = append(os.Environ(), "FLEET_NODE="+string(raw))
		if _, err := n.cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := n.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			n.cmd.Process.Kill()
			n.cmd.Wait()
		})
	}
	all := []string{url(nodes[0]), url(nodes[1]), url(nodes[2])}
	js := dial(t, strings.Join(all, ","), nats.RetryOnFailedConnect(true))
	fleettest.Until(t, "the bucket", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return natskv.CreateBucket(ctx, js, jetstream.KeyValueConfig{Bucket: bucket, Replicas: 3}) == nil
	})
	var leader string
	fleettest.Until(t, "a leader with replicas in step", func() bool {
		s, err := js.Stream(t.Context(), "KV_"+bucket)
		if err != nil {
			return false
		}
		info := s.CachedInfo().Cluster
		leader = info.Leader
		return leader != "" && len(info.Replicas) == 2 && info.Replicas[0].Current && info.Replicas[1].Current
	})
	lead := slices.IndexFunc(nodes[:], func(n *node) bool { return n.Name == leader })
	const lease = 16 * time.Second
	var groups []*fleet.Group[string]
	for i := range 2 {
		own := dial(t, url(nodes[(lead+1+i)%3])+","+url(nodes[(lead+2-i)%3]), nats.DontRandomize())
		groups = append(groups, newGroup[string](t, own, fleet.Lease(lease), fleet.EngineTimeout(time.Second)))
	}
	l, here, _ := fleettest.Begin(t, groups[0], "k")
	l2 := fleettest.NewLoader()
	there := fleettest.Start(t, groups[1], "k", l2.Fn)
	fleettest.Until(t, "both watches", func() bool { return watches(js, "k") == 2 })

	nodes[lead].cmd.Process.Kill()
	killed := time.Now()
	l.Give("v")
	here.Want(t, "where fn ran", "v")
	if d := time.Since(killed); d > 10*time.Second {
		t.Errorf("where fn ran its caller waited %v for the engine, want 2s or so", d)
	}
	l2.Give("again")
	if a := there.Wait(t); a.Err != nil || a.V != "v" && a.V != "again" {
		t.Errorf("elsewhere: %+v, want a value", a)
	}
	// Its watch may have been with the leader: the renewal is overdue after
	// three quarters of the lease.
	if d := time.Since(killed); d > lease-time.Second {
		t.Errorf("elsewhere the answer came after %v, when the lease of %v had ended", d, lease)
	}
}
