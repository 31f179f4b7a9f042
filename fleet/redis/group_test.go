// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet"
)

// Groups with an Engine and a connection of their own are processes, as far as
// Redis can tell.

func TestOneLoadInTheFleet(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const groups, rounds = 5, 20
	var gs []*fleet.Group[string]
	for range groups {
		gs = append(gs, newGroup(t, s.dial()))
	}
	oneLoad(t, gs, rounds, func(key string) int { return s.watches(key) })
}

// oneLoad has all Groups ask for a key at once, and expects one load.
func oneLoad(t *testing.T, groups []*fleet.Group[string], rounds int, watches func(key string) int) {
	t.Helper()
	for round := range rounds {
		key := fmt.Sprint("k", round)
		l := newLoader()
		var calls []*call
		for _, g := range groups {
			calls = append(calls, start(t, g, key, l.fn))
		}
		l.running(t)
		until(t, "a watch of each", func() bool { return watches(key) == len(groups) })
		l.give(key + " loaded")
		for i, c := range calls {
			c.want(t, fmt.Sprint("caller ", i), key+" loaded")
		}
		l.idle(t)
	}
}

// A call that begins when another has returned starts a load of its own.
func TestFreshAfterReturn(t *testing.T) {
	t.Parallel()
	s := serve(t)
	a, b := newGroup(t, s.dial()), newGroup(t, s.dial())
	for i := range 50 {
		for _, g := range []*fleet.Group[string]{a, b} {
			v := fmt.Sprint(i)
			start(t, g, "k", func(context.Context) (string, error) { return v, nil }).want(t, "a call", v)
		}
	}
	if n := a.Stats().Loads + b.Stats().Loads; n != 100 {
		t.Errorf("%d loads for 100 calls in turn", n)
	}
}

func TestForgetMidLoad(t *testing.T) {
	t.Parallel()
	s := serve(t)
	a, b, c := newGroup(t, s.dial()), newGroup(t, s.dial()), newGroup(t, s.dial())
	l1, l2 := newLoader(), newLoader()
	old := []*call{start(t, a, "k", l1.fn)}
	l1.running(t)
	old = append(old, start(t, b, "k", l1.fn))
	until(t, "two watches", func() bool { return s.watches("k") == 2 })
	if err := c.Forget(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	late := []*call{start(t, c, "k", l2.fn)}
	l2.running(t)
	// The message takes a moment to arrive.
	until(t, "a new flight where the old load runs", func() bool {
		call := start(t, a, "k", l2.fn)
		late = append(late, call)
		return a.Stats().Callers.InFlight == 1 && a.Stats().Callers.Running >= 2
	})
	l2.give("new")
	for i, call := range late[:1] {
		call.want(t, fmt.Sprint("a later caller ", i), "new")
	}
	l1.give("old")
	for i, call := range old {
		call.want(t, fmt.Sprint("caller ", i, " from before"), "old")
	}
}

func TestRecordsAreGoneAfterLinger(t *testing.T) {
	t.Parallel()
	s := serve(t)
	g := newGroup(t, s.dial())
	for i := range 20 {
		start(t, g, fmt.Sprint("k", i), func(context.Context) (string, error) { return "v", nil }).want(t, "a call", "v")
	}
	until(t, "an empty database", func() bool { return s.do("DBSIZE") == "0" })
}

// What a load costs: one process alone, and one more that waits.
func TestRequestsPerLoad(t *testing.T) {
	t.Parallel()
	s := serve(t)
	a, b := newGroup(t, s.dial()), newGroup(t, s.dial())
	requests := func() map[string]int {
		got := make(map[string]int)
		for line := range strings.Lines(s.do("INFO", "commandstats")) {
			var calls int
			name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
			if n, _ := fmt.Sscanf(rest, "calls=%d", &calls); n == 1 {
				got[name] = calls
			}
		}
		return got
	}
	count := func(what string, want map[string]int, do func()) {
		t.Helper()
		before := requests()
		do()
		got := make(map[string]int)
		until(t, "the end of the watches", func() bool { return s.watches("k") == 0 })
		after := requests()
		for name := range want {
			got[name] = after[name] - before[name]
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s costs %v, want %v", what, got, want)
		}
	}
	count("a load alone", map[string]int{"evalsha": 3, "subscribe": 1, "unsubscribe": 1}, func() {
		l := newLoader()
		c := start(t, a, "k", l.fn)
		l.running(t)
		until(t, "the watch", func() bool { return s.watches("k") == 1 })
		time.Sleep(50 * time.Millisecond) // its listing
		l.give("v")
		c.want(t, "the caller", "v")
	})
	time.Sleep(1100 * time.Millisecond) // the result's Linger
	count("a load and a process that waits", map[string]int{"evalsha": 3 + 3, "subscribe": 2, "unsubscribe": 2}, func() {
		l := newLoader()
		c := start(t, a, "k", l.fn)
		l.running(t)
		d := start(t, b, "k", l.fn)
		until(t, "the watches", func() bool { return s.watches("k") == 2 })
		time.Sleep(50 * time.Millisecond)
		l.give("v")
		c.want(t, "the caller", "v")
		d.want(t, "the caller elsewhere", "v")
	})
}

// Only the callers in the process that loaded it get a value of more than 8 MiB;
// the others load for themselves.
func TestValueThatIsTooLarge(t *testing.T) {
	t.Parallel()
	s := serve(t)
	a, b := newGroup(t, s.dial()), newGroup(t, s.dial())
	big := strings.Repeat("x", 8<<20)
	l := newLoader()
	here := start(t, a, "k", l.fn)
	l.running(t)
	there := start(t, b, "k", func(context.Context) (string, error) { return "small", nil })
	until(t, "two watches", func() bool { return s.watches("k") == 2 })
	l.give(big)
	here.want(t, "where it was loaded", big)
	there.want(t, "elsewhere", "small")
	if n := a.Stats().Unsent; n != 1 {
		t.Errorf("Unsent %d, want 1", n)
	}

	// One that is smaller travels, while others are in the way.
	big = big[:5<<20]
	l = newLoader()
	here = start(t, a, "k2", l.fn)
	l.running(t)
	there = start(t, b, "k2", l.fn)
	until(t, "two watches", func() bool { return s.watches("k2") == 2 })
	l.give(big)
	here.want(t, "where it was loaded", big)
	there.want(t, "elsewhere", big)
	l.idle(t)
}

func TestClosedEngineFallsBackAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t)
	e := open(t, s.dial())
	g := newGroupOn(t, e)
	strict := newGroupOn(t, e, fleet.RequireEngine())
	e.Close()
	began := time.Now()
	start(t, g, "k", func(context.Context) (string, error) { return "v", nil }).want(t, "a call", "v")
	if a := start(t, strict, "k", newLoader().fn).wait(t); !errors.Is(a.err, fleet.ErrUnavailable) {
		t.Errorf("with RequireEngine: %+v, want ErrUnavailable", a)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("they took %v", d)
	}
}

// The server is killed while a load runs, and comes back with what it had, or
// with nothing. Meanwhile each process loads for itself; then as before.
func TestServerKilledAndRestartedMidFlight(t *testing.T) {
	slow(t)
	t.Parallel()
	for name, args := range map[string][]string{
		"with its data": {"--appendonly", "yes", "--appendfsync", "always"},
		"empty":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, args...)
			a, b := newGroup(t, s.dial()), newGroup(t, s.dial())
			l1, l2 := newLoader(), newLoader()
			here := start(t, a, "k", l1.fn)
			l1.running(t)
			there := start(t, b, "k", l2.fn)
			until(t, "two watches", func() bool { return s.watches("k") == 2 })
			s.kill()
			// The process that waits loads for itself, at once.
			began := time.Now()
			l2.running(t)
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("elsewhere the load began after %v, want at once", d)
			}
			l2.give("own")
			there.want(t, "elsewhere", "own")
			// And a new call does so too.
			start(t, b, "other", func(context.Context) (string, error) { return "v", nil }).want(t, "a new call", "v")
			s.start()
			l1.give("v")
			here.want(t, "where fn ran", "v")
			// A call after that has one load for all again.
			until(t, "the processes to agree again", func() bool {
				before := a.Stats().Fallbacks + b.Stats().Fallbacks
				for _, g := range []*fleet.Group[string]{a, b} {
					start(t, g, "k", func(context.Context) (string, error) { return "w", nil }).want(t, "afterwards", "w")
				}
				return a.Stats().Fallbacks+b.Stats().Fallbacks == before
			})
			oneLoad(t, []*fleet.Group[string]{a, b}, 3, func(key string) int { return s.watches(key) })
		})
	}
}

// The server falls silent while a load runs: no caller waits for the server for
// longer than the EngineTimeout, or for anything for longer than its context.
func TestServerFrozenMidFlight(t *testing.T) {
	slow(t)
	t.Parallel()
	s := serve(t)
	opts := []fleet.Option{fleet.Lease(4 * time.Second), fleet.EngineTimeout(time.Second)}
	a, b := newGroup(t, s.dial(), opts...), newGroup(t, s.dial(), opts...)
	l1, l2 := newLoader(), newLoader()
	here := start(t, a, "k", l1.fn)
	l1.running(t)
	there := start(t, b, "k", l2.fn)
	until(t, "two watches", func() bool { return s.watches("k") == 2 })
	s.freeze()
	began := time.Now()
	l2.running(t)
	if d := time.Since(began); d > 10*time.Second { // 3, on a machine that does nothing else
		t.Errorf("elsewhere the load began after %v", d)
	}
	l2.give("own")
	there.want(t, "elsewhere", "own")
	began = time.Now()
	l1.give("v")
	here.want(t, "where fn ran", "v")
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("where fn ran its caller waited %v for the engine", d)
	}
	s.thaw()
	until(t, "the processes to agree again", func() bool {
		before := a.Stats().Fallbacks + b.Stats().Fallbacks
		for _, g := range []*fleet.Group[string]{a, b} {
			start(t, g, "k3", func(context.Context) (string, error) { return "w", nil }).want(t, "afterwards", "w")
		}
		return a.Stats().Fallbacks+b.Stats().Fallbacks == before
	})
	oneLoad(t, []*fleet.Group[string]{a, b}, 3, func(key string) int { return s.watches(key) })
}

// A process that is cut off loads for itself. If it held the key the others
// take over, and when it is back its write is rejected, and its callers get
// the newer value.
func TestCutOffHolder(t *testing.T) {
	slow(t)
	t.Parallel()
	s := serve(t)
	l := newLine(t, s.addr())
	const lease = 4 * time.Second
	opts := []fleet.Option{fleet.Lease(lease), fleet.EngineTimeout(time.Second)}
	a, b := newGroup(t, dial(t, l.addr()), opts...), newGroup(t, s.dial(), opts...)
	l1, l2 := newLoader(), newLoader()
	here := start(t, a, "k", l1.fn)
	ctx := l1.running(t)
	there := start(t, b, "k", l2.fn)
	until(t, "two watches", func() bool { return s.watches("k") == 2 })
	l.set(true)
	cut := time.Now()
	l2.running(t)
	if d := time.Since(cut); d > lease+time.Second+2*time.Second { // and 2 for the machine
		t.Errorf("taken over after %v, want the lease plus one second", d)
	}
	l.set(false)
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Fatal("the load that lost its lease is not canceled")
	}
	l2.give("newer")
	there.want(t, "who took over", "newer")
	here.want(t, "who was cut off", "newer")
}

// The answers to a claim, and to a result, are lost: both are read back.
func TestLostAnswersAreReadBack(t *testing.T) {
	t.Parallel()
	s := serve(t)
	l := newLine(t, s.addr())
	opts := []fleet.Option{fleet.EngineTimeout(time.Second), fleet.Linger(10 * time.Second)} // so that the result can be read back
	a, b := newGroup(t, dial(t, l.addr()), opts...), newGroup(t, s.dial(), opts...)
	for _, state := range []string{"pending", "done"} {
		lose := func() { l.loseAnswers(`"state":"`+state+`"`, drop) }
		if state == "pending" {
			lose()
		}
		ld := newLoader()
		here := start(t, a, state, ld.fn)
		ld.running(t)
		l.tap(nil)
		until(t, "the watch", func() bool { return s.watches(state) == 1 })
		there := start(t, b, state, ld.fn)
		until(t, "two watches", func() bool { return s.watches(state) == 2 })
		if state == "done" {
			lose()
		}
		ld.give("v")
		here.want(t, "where fn ran, "+state, "v")
		there.want(t, "elsewhere, "+state, "v")
		ld.idle(t)
		l.tap(nil)
	}
	if n := a.Stats().Unsent; n != 0 {
		t.Errorf("%d results count as not sent, want none", n)
	}
}

// A replica is promoted that does not know of the claim: two loads run at a
// time, until the first one hears of the other, at its next renewal at the
// latest, and then its callers get the other's value.
func TestFailoverToAReplica(t *testing.T) {
	slow(t)
	t.Parallel()
	master := serve(t)
	link := newLine(t, master.addr())
	replica := serve(t, "--replicaof", "127.0.0.1", fmt.Sprint(link.ln.Addr().(*net.TCPAddr).Port), "--repl-diskless-sync-delay", "0")
	until(t, "the replica", func() bool {
		return strings.Contains(replica.do("INFO", "replication"), "master_link_status:up")
	})
	// The line stands for the name of the master.
	l := newLine(t, master.addr())
	const lease = 4 * time.Second
	opts := []fleet.Option{fleet.Lease(lease), fleet.EngineTimeout(time.Second)}
	a, b := newGroup(t, dial(t, l.addr()), opts...), newGroup(t, dial(t, l.addr()), opts...)

	// A claim that was replicated survives.
	l0 := newLoader()
	here := start(t, a, "k0", l0.fn)
	l0.running(t)
	until(t, "the claim on the replica", func() bool { return replica.do("EXISTS", prefix+":{k0}") == "1" })

	// One that was not is lost.
	link.set(true)
	l1, l2 := newLoader(), newLoader()
	first := start(t, a, "k", l1.fn)
	ctx := l1.running(t)
	until(t, "its watch", func() bool { return master.watches("k") == 1 })
	claimed := time.Now()
	master.kill()
	replica.do("REPLICAOF", "NO", "ONE")
	l.lead(replica.addr())
	until(t, "the new master to be found", func() bool { return replica.subscribers() == 2 })

	second := start(t, b, "k", l2.fn)
	l2.running(t)
	select {
	case <-ctx.Done():
	case <-time.After(patience):
		t.Fatal("the first load goes on")
	}
	if d := time.Since(claimed); d > lease+2*time.Second {
		t.Errorf("the first load was canceled after %v, want half the lease of %v and a request", d, lease)
	}
	l2.give("v2")
	second.want(t, "where the second load ran", "v2")
	first.want(t, "where the first load ran", "v2")

	there := start(t, b, "k0", l0.fn)
	until(t, "both watches", func() bool { return replica.watches("k0") == 2 })
	l0.give("v0")
	here.want(t, "the holder of the claim that survived", "v0")
	there.want(t, "who waited for it", "v0")
	l0.idle(t)
}

func TestFleetOnACluster(t *testing.T) {
	slow(t)
	t.Parallel()
	c := newCluster(t, 0)
	var groups []*fleet.Group[string]
	for i := range 4 {
		groups = append(groups, newGroup(t, c.dial(t, func(o *goredis.ClusterOptions) { o.ReadOnly = i%2 == 0 })))
	}
	oneLoad(t, groups, 20, func(key string) int {
		n := 0
		for _, s := range c.nodes {
			n += s.watches(key)
		}
		return n
	})
	for _, g := range groups {
		if s := g.Stats(); s.Fallbacks != 0 || s.Takeovers != 0 {
			t.Errorf("%+v, want no fallbacks and no takeovers", s)
		}
	}
}

// Sentinel promotes a replica, and its clients find it.
func TestSentinel(t *testing.T) {
	slow(t)
	t.Parallel()
	master := serve(t)
	replica := serve(t, "--replicaof", "127.0.0.1", fmt.Sprint(master.port), "--repl-diskless-sync-delay", "0")
	until(t, "the replica", func() bool {
		return strings.Contains(replica.do("INFO", "replication"), "master_link_status:up")
	})
	addr := watchdog(t, master)
	client := func() goredis.UniversalClient {
		c := goredis.NewUniversalClient(&goredis.UniversalOptions{MasterName: "main", Addrs: []string{addr}})
		t.Cleanup(func() { c.Close() })
		return c
	}
	groups := []*fleet.Group[string]{newGroup(t, client()), newGroup(t, client())}
	oneLoad(t, groups, 3, master.watches)
	master.kill()
	until(t, "the promotion", func() bool { return strings.Contains(replica.do("INFO", "replication"), "role:master") })
	until(t, "the clients to find the new master", func() bool { return replica.subscribers() >= 2 })
	until(t, "the processes to agree again", func() bool {
		before := groups[0].Stats().Fallbacks + groups[1].Stats().Fallbacks
		for _, g := range groups {
			start(t, g, "again", func(context.Context) (string, error) { return "w", nil }).want(t, "afterwards", "w")
		}
		return groups[0].Stats().Fallbacks+groups[1].Stats().Fallbacks == before
	})
	oneLoad(t, groups, 3, replica.watches)
}
