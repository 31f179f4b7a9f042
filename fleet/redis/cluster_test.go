// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/enginetest"
	"example.com/singleflight/fleet/internal/fleettest"
)

// A cluster is three masters, which have all slots between them, and perhaps
// a replica of the first.
type cluster struct {
	t     testing.TB
	nodes []*server
}

func newCluster(t testing.TB, replicas int) *cluster {
	t.Helper()
	c := &cluster{t: t}
	const slots = 16384
	for i := range 3 + replicas {
		s := serve(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no",
			"--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0")
		c.nodes = append(c.nodes, s)
		s.do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i < 3 {
			s.do("CLUSTER", "ADDSLOTSRANGE", i*slots/3, (i+1)*slots/3-1)
		}
		s.do("CLUSTER", "MEET", "127.0.0.1", c.nodes[0].port)
	}
	c.settled()
	for _, s := range c.nodes[3:] {
		id := c.nodes[0].do("CLUSTER", "MYID")
		fleettest.Until(t, "the replica to know its master", func() bool {
			return s.dial().ClusterReplicate(context.Background(), id).Err() == nil
		})
		fleettest.Until(t, "the replica", func() bool {
			return strings.Contains(s.do("INFO", "replication"), "master_link_status:up")
		})
	}
	c.settled()
	return c
}

// settled waits until all nodes know all others and their slots.
func (c *cluster) settled() {
	c.t.Helper()
	fleettest.Until(c.t, "the cluster to settle", func() bool {
		for _, s := range c.nodes {
			if s.cmd == nil {
				continue
			}
			info := s.do("CLUSTER", "INFO")
			if !strings.Contains(info, "cluster_state:ok") || !strings.Contains(info, "cluster_slots_ok:16384") ||
				!strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d", len(c.nodes))) ||
				strings.Contains(s.do("CLUSTER", "NODES"), "handshake") {
				return false
			}
		}
		return true
	})
}

func (c *cluster) dial(t testing.TB, set ...func(*goredis.ClusterOptions)) *goredis.ClusterClient {
	t.Helper()
	opts := new(goredis.ClusterOptions)
	for _, s := range c.nodes {
		opts.Addrs = append(opts.Addrs, s.addr())
	}
	for _, set := range set {
		set(opts)
	}
	client := goredis.NewClusterClient(opts)
	t.Cleanup(func() { client.Close() })
	return client
}

// owner is the master that has the slot of a key.
func (c *cluster) owner(key string) *server {
	c.t.Helper()
	client := c.dial(c.t)
	master, err := client.MasterForKey(c.t.Context(), prefix+":{"+key+"}")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range c.nodes {
		if s.addr() == master.Options().Addr {
			return s
		}
	}
	c.t.Fatalf("no node has the address %s", master.Options().Addr)
	return nil
}

// keyOf returns a key that a node has.
func (c *cluster) keyOf(s *server) string {
	c.t.Helper()
	for i := range 1000 {
		if key := fmt.Sprint("key", i); c.owner(key) == s {
			return key
		}
	}
	c.t.Fatal("a node has none of a thousand keys")
	return ""
}

func TestConformanceOfACluster(t *testing.T) {
	fleettest.Slow(t)
	t.Parallel()
	c := newCluster(t, 0)
	enginetest.Run(t, func(t testing.TB) enginetest.Store {
		return store(t, func(t testing.TB) goredis.UniversalClient { return c.dial(t) })
	})
}

// Whatever a cluster client prefers, what is asked is answered by masters; and
// a replica that is asked by mistake refuses.
func TestLatestIsFromTheMaster(t *testing.T) {
	fleettest.Slow(t)
	t.Parallel()
	c := newCluster(t, 1)
	replica := c.nodes[3]
	key := c.keyOf(c.nodes[0])
	other := open(t, c.dial(t))
	for what, set := range map[string]func(*goredis.ClusterOptions){
		"ReadOnly":       func(o *goredis.ClusterOptions) { o.ReadOnly = true },
		"RouteByLatency": func(o *goredis.ClusterOptions) { o.RouteByLatency = true },
		"RouteRandomly":  func(o *goredis.ClusterOptions) { o.RouteRandomly = true },
	} {
		e := open(t, c.dial(t, set))
		for range 100 {
			rev := write(t, other, key, engine.Put{Expect: expect(latest(t, other, key)), Data: []byte(what), TTL: time.Minute})
			want(t, what, latest(t, e, key), rev, what, false)
		}
	}
	// The replica, asked by a client that takes it for the master.
	wrong := c.dial(t, func(o *goredis.ClusterOptions) {
		o.MaxRedirects = -1
		o.OnConnect = func(ctx context.Context, c *goredis.Conn) error { return c.ReadOnly(ctx).Err() }
		o.ClusterSlots = func(context.Context) ([]goredis.ClusterSlot, error) {
			return []goredis.ClusterSlot{{Start: 0, End: 16383, Nodes: []goredis.ClusterNode{{Addr: replica.addr()}}}}, nil
		}
	})
	fleettest.Until(t, "the replica to have the record", func() bool {
		n, err := wrong.HLen(t.Context(), prefix+":{"+key+"}").Result()
		return n == 2 && err == nil
	})
	mistaken := open(t, &redirected{ClusterClient: c.dial(t), requests: wrong})
	if entry, err := mistaken.Latest(t.Context(), name(key)); err == nil {
		t.Errorf("the replica answers %+v", entry)
	}
	if _, err := mistaken.Write(t.Context(), name(key), engine.Put{TTL: time.Minute}); !errors.Is(err, engine.ErrUnsent) {
		t.Errorf("Write on the replica: %v, want ErrUnsent", err)
	}

	// A single server that has become a replica refuses too.
	single := serve(t)
	e := open(t, single.dial())
	write(t, e, "k", engine.Put{TTL: time.Minute})
	single.do("REPLICAOF", "127.0.0.1", "1")
	if entry, err := e.Latest(t.Context(), name("k")); err == nil {
		t.Errorf("a replica answers %+v", entry)
	}
}

// redirected sends requests for keys by another client, once it was opened.
type redirected struct {
	*goredis.ClusterClient
	requests *goredis.ClusterClient
}

func (r *redirected) Process(ctx context.Context, cmd goredis.Cmder) error {
	if strings.Contains(fmt.Sprint(cmd.Args()...), ":{") {
		return r.requests.Process(ctx, cmd)
	}
	return r.ClusterClient.Process(ctx, cmd)
}

func expect(e engine.Entry) uint64 {
	if e.Gone {
		return 0
	}
	return e.Rev
}

// In a cluster too, a write is sent once; a client that may retry would do so
// even with MaxRetries -1.
func TestWriteIsSentOnceInACluster(t *testing.T) {
	fleettest.Slow(t)
	t.Parallel()
	c := newCluster(t, 0)
	key := c.keyOf(c.nodes[1])
	l := newLine(t, c.nodes[1].addr())
	for _, retries := range []int{0, -1} {
		client := c.dial(t, func(o *goredis.ClusterOptions) {
			o.MaxRetries = retries
			through(c.nodes[1].addr(), l)(o)
		})
		e := open(t, client)
		sent := l.loseAnswers("the-data", cut)
		rev, err := e.Write(t.Context(), name(key), engine.Put{Expect: expect(latest(t, e, key)), Data: []byte("the-data"), TTL: time.Minute})
		if err == nil || errors.Is(err, engine.ErrTaken) || errors.Is(err, engine.ErrUnsent) {
			t.Errorf("Write = %d, %v, want an error that leaves the outcome open", rev, err)
		}
		if n := sent.Load(); n != 1 {
			t.Errorf("MaxRetries %d: it was sent %d times, want once", retries, n)
		}
		l.tap(nil)
	}
}

// through has a client reach one address by a line.
func through(addr string, l *line) func(*goredis.ClusterOptions) {
	return func(o *goredis.ClusterOptions) {
		o.NewClient = func(opt *goredis.Options) *goredis.Client {
			if opt.Addr == addr {
				opt.Addr = l.addr()
			}
			return goredis.NewClient(opt)
		}
	}
}

// While a slot moves from one node to another, and after it has, requests find
// their way, and a watch has the news.
func TestSlotThatMoves(t *testing.T) {
	fleettest.Slow(t)
	t.Parallel()
	c := newCluster(t, 0)
	e := open(t, c.dial(t))
	from, to := c.nodes[0], c.nodes[1]
	key := c.keyOf(from)
	redisKey := prefix + ":{" + key + "}"
	watch := e.Watch(t.Context(), key)
	rev := write(t, e, key, engine.Put{Data: []byte("0"), TTL: time.Minute})
	want(t, "before", receive(t, watch), rev, "0", false)
	step := func(what string) {
		t.Helper()
		last := rev
		rev = write(t, e, key, engine.Put{Expect: last, Data: []byte(what), TTL: time.Minute})
		want(t, what, latest(t, e, key), rev, what, false)
		want(t, what, receive(t, watch), rev, what, false)
	}
	slot := from.do("CLUSTER", "KEYSLOT", redisKey)
	to.do("CLUSTER", "SETSLOT", slot, "IMPORTING", from.do("CLUSTER", "MYID"))
	from.do("CLUSTER", "SETSLOT", slot, "MIGRATING", to.do("CLUSTER", "MYID"))
	step("moving")
	from.do("MIGRATE", "127.0.0.1", to.port, redisKey, 0, 5000)
	step("moved, which the nodes do not know yet")
	to.do("CLUSTER", "SETSLOT", slot, "NODE", to.do("CLUSTER", "MYID"))
	from.do("CLUSTER", "SETSLOT", slot, "NODE", to.do("CLUSTER", "MYID"))
	step("moved")
}

// Where a master is killed its replica takes over, and what was not replicated
// is lost. Until then nothing is claimed, and nothing that was refused is done.
func TestMasterOfAClusterIsKilled(t *testing.T) {
	fleettest.Slow(t)
	t.Parallel()
	c := newCluster(t, 1)
	e := open(t, c.dial(t))
	key, elsewhere := c.keyOf(c.nodes[0]), c.keyOf(c.nodes[1])
	watch := e.Watch(t.Context(), key)
	rev := write(t, e, key, engine.Put{Data: []byte("a"), TTL: time.Minute})
	want(t, "before", receive(t, watch), rev, "a", false)
	fleettest.Until(t, "the replica to have it", func() bool {
		return c.nodes[3].do("DBSIZE") == "1"
	})
	c.nodes[0].kill()
	write(t, e, elsewhere, engine.Put{TTL: time.Minute})
	next := uint64(0)
	fleettest.Until(t, "the replica to be the master", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var err error
		next, err = e.Write(ctx, name(key), engine.Put{Expect: rev, Data: []byte("b"), TTL: time.Minute})
		return err == nil
	})
	if next <= rev {
		t.Errorf("revision %d after %d, want a higher one", next, rev)
	}
	for entry := range watch { // has the news, or is closed
		if entry.Rev == next {
			break
		}
	}
}

func TestPermissionsInACluster(t *testing.T) {
	fleettest.Slow(t)
	t.Parallel()
	c := newCluster(t, 0)
	for _, s := range c.nodes {
		args := []any{"ACL", "SETUSER", "app", "reset", "on", "nopass", "resetchannels", "~" + prefix + ":*", "&" + prefix + ":*"}
		for _, right := range append(rights, "+cluster|slots") {
			args = append(args, right)
		}
		s.do(args...)
	}
	e := open(t, c.dial(t, func(o *goredis.ClusterOptions) { o.Username, o.Password = "app", "x" }))
	for i := range 20 {
		key := fmt.Sprint("key", i)
		watch := e.Watch(t.Context(), key)
		rev := write(t, e, key, engine.Put{Data: []byte("a"), TTL: 100 * time.Millisecond})
		want(t, "the record", receive(t, watch), rev, "a", false)
		want(t, "its expiry", receive(t, watch), rev, "", true)
	}
}
