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
	"example.com/singleflight/fleet/internal/fleettest"
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
		l := fleettest.NewLoader()
		var calls []*fleettest.Call
		for _, g := range groups {
			calls = append(calls, fleettest.Start(t, g, key, l.Fn))
		}
		l.Running(t)
		fleettest.Until(t, "a watch of each", func() bool { return watches(key) == len(groups) })
		l.Give(key + " loaded")
		for i, c := range calls {
			c.Want(t, fmt.Sprint("caller ", i), key+" loaded")
		}
		l.Idle(t)
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
			fleettest.Start(t, g, "k", func(context.Context) (string, error) { return v, nil }).Want(t, "a call", v)
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
	l1, l2 := fleettest.NewLoader(), fleettest.NewLoader()
	old := []*fleettest.Call{fleettest.Start(t, a, "k", l1.Fn)}
	l1.Running(t)
	old = append(old, fleettest.Start(t, b, "k", l1.Fn))
	fleettest.Until(t, "two watches", func() bool { return s.watches("k") == 2 })
	if err := c.Forget(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	late := []*fleettest.Call{fleettest.Start(t, c, "k", l2.Fn)}
	l2.Running(t)
	// The message takes a moment to arrive.
	fleettest.Until(t, "a new flight where the old load runs", func() bool {
		call := fleettest.Start(t, a, "k", l2.Fn)
		late = append(late, call)
		return a.Stats().Callers.InFlight == 1 && a.Stats().Callers.Running >= 2
	})
	l2.Give("new")
	for i, call := range late[:1] {
		call.Want(t, fmt.Sprint("a later caller ", i), "new")
	}
	l1.Give("old")
	for i, call := range old {
		call.Want(t, fmt.Sprint("caller ", i, " from before"), "old")
	}
}

func TestRecordsAreGoneAfterLinger(t *testing.T) {
	t.Parallel()
	s := serve(t)
	g := newGroup(t, s.dial())
	for i := range 20 {
		fleettest.Start(t, g, fmt.Sprint("k", i), func(context.Context) (string, error) { return "v", nil }).Want(t, "a call", "v")
	}
	fleettest.Until(t, "an empty database", func() bool { return s.do("DBSIZE") == "0" })
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
	count := func(what string, want map[string]int, do func(scripts func(n int))) {
		t.Helper()
		before := requests()
		do(func(n int) {
			t.Helper()
			fleettest.Until(t, fmt.Sprint(n, " scripts"), func() bool { return requests()["evalsha"] == before["evalsha"]+n })
		})
		got := make(map[string]int)
		fleettest.Until(t, "the end of the watches", func() bool { return s.watches("k") == 0 })
		after := requests()
		for name := range want {
			got[name] = after[name] - before[name]
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s costs %v, want %v", what, got, want)
		}
	}
	count("a load alone", map[string]int{"evalsha": 3, "subscribe": 1, "unsubscribe": 1}, func(scripts func(int)) {
		l := fleettest.NewLoader()
		c := fleettest.Start(t, a, "k", l.Fn)
		l.Running(t)
		scripts(2) // the claim, and the read when the watch begins
		l.Give("v")
		c.Want(t, "the caller", "v")
	})
	fleettest.Until(t, "the end of Linger", func() bool { return s.do("DBSIZE") == "0" })
	count("a load and a process that waits", map[string]int{"evalsha": 3 + 3, "subscribe": 2, "unsubscribe": 2}, func(scripts func(int)) {
		l := fleettest.NewLoader()
		c := fleettest.Start(t, a, "k", l.Fn)
		l.Running(t)
		d := fleettest.Start(t, b, "k", l.Fn)
		scripts(2 + 3) // in the other process also a read after its claim is refused
		l.Give("v")
		c.Want(t, "the caller", "v")
		d.Want(t, "the caller elsewhere", "v")
	})
}

// Only the callers in the process that loaded it get a value of more than 8 MiB;
// the others load for themselves.
func TestValueThatIsTooLarge(t *testing.T) {
	t.Parallel()
	s := serve(t)
	a, b := newGroup(t, s.dial()), newGroup(t, s.dial())
	big := strings.Repeat("x", 8<<20)
	l := fleettest.NewLoader()
	here := fleettest.Start(t, a, "k", l.Fn)
	l.Running(t)
	there := fleettest.Start(t, b, "k", func(context.Context) (string, error) { return "small", nil })
	fleettest.Until(t, "two watches", func() bool { return s.watches("k") == 2 })
	l.Give(big)
	here.Want(t, "where it was loaded", big)
	there.Want(t, "elsewhere", "small")
	if n := a.Stats().Unsent; n != 1 {
		t.Errorf("Unsent %d, want 1", n)
	}

	// One that is smaller travels, while others are in the way.
	big = big[:5<<20]
	l = fleettest.NewLoader()
	here = fleettest.Start(t, a, "k2", l.Fn)
	l.Running(t)
	there = fleettest.Start(t, b, "k2", l.Fn)
	fleettest.Until(t, "two watches", func() bool { return s.watches("k2") == 2 })
	l.Give(big)
	here.Want(t, "where it was loaded", big)
	there.Want(t, "elsewhere", big)
	l.Idle(t)
}

func TestClosedEngineFallsBackAtOnce(t *testing.T) {
	t.Parallel()
	s := serve(t)
	e := open(t, s.dial())
	g := newGroupOn(t, e)
	strict := newGroupOn(t, e, fleet.RequireEngine())
	e.Close()
	began := time.Now()
	fleettest.Start(t, g, "k", func(context.Context) (string, error) { return "v", nil }).Want(t, "a call", "v")
	if a := fleettest.Start(t, strict, "k", fleettest.NewLoader().Fn).Wait(t); !errors.Is(a.Err, fleet.ErrUnavailable) {
		t.Errorf("with RequireEngine: %+v, want ErrUnavailable", a)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("they took %v", d)
	}
}

// The server is killed while a load runs, and comes back with what it had, or
// with nothing. Meanwhile each process loads for itself; then as before.
func TestServerKilledAndRestartedMidFlight(t *testing.T) {
	fleettest.Slow(t)
	t.Parallel()
	for name, args := range map[string][]string{
		"with its data": {"--appendonly", "yes", "--appendfsync", "always"},
		"empty":         nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, args...)
			a, b := newGroup(t, s.dial()), newGroup(t, s.dial())
			l1, l2 := fleettest.NewLoader(), fleettest.NewLoader()
			here := fleettest.Start(t, a, "k", l1.Fn)
			l1.Running(t)
			there := fleettest.Start(t, b, "k", l2.Fn)
			fleettest.Until(t, "two watches", func() bool { return s.watches("k") == 2 })
			s.kill()
			// The process that waits loads for itself, at once.
			began := time.Now()
			l2.Running(t)
			if d := time.Since(began); d > 5*time.Second {
				t.Errorf("elsewhere the load began after %v, want at once", d)
			}
			l2.Give("own")
			there.Want(t, "elsewhere", "own")
			// And a new call does so too.
			fleettest.Start(t, b, "other", func(context.Context) (string, error) { return "v", nil }).Want(t, "a new call", "v")
			s.start()
			l1.Give("v")
			here.Want(t, "where fn ran", "v")
			// A call after that has one load for all again.
			fleettest.Until(t, "the processes to agree again", func() bool {
				before := a.Stats().Fallbacks + b.Stats().Fallbacks
				for _, g := range []*fleet.Group[string]{a, b} {
					fleettest.Start(t, g, "k", func(context.Context) (string, error) { return "w", nil }).Want(t, "afterwards", "w")
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
	fleettest.Slow(t)
	t.Parallel()
	s := serve(t)
	opts := []fleet.Option{fleet.Lease(4 * time.Second), fleet.EngineTimeout(time.Second)}
	a, b := newGroup(t, s.dial(), opts...), newGroup(t, s.dial(), opts...)
	l1, l2 := fleettest.NewLoader(), fleettest.NewLoader()
	here := fleettest.Start(t, a, "k", l1.Fn)
	l1.Running(t)
	there := fleettest.Start(t, b, "k", l2.Fn)
	fleettest.Until(t, "two watches", func() bool { return s.watches("k") == 2 })
	s.freeze()
	began := time.Now()
	l2.Running(t)
	if d := time.Since(began); d > 10*time.Second { // 3, on a machine that does nothing else
		t.Errorf("elsewhere the load began after %v", d)
	}
	l2.Give("own")
	there.Want(t, "elsewhere", "own")
	began = time.Now()
	l1.Give("v")
	here.Want(t, "where fn ran", "v")
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("where fn ran its caller waited %v for the engine", d)
	}
	s.thaw()
	fleettest.Until(t, "the processes to agree again", func() bool {
		before := a.Stats().Fallbacks + b.Stats().Fallbacks
		for _, g := range []*fleet.Group[string]{a, b} {
			fleettest.Start(t, g, "k3", func(context.Context) (string, error) { return "w", nil }).Want(t, "afterwards", "w")
		}
		return a.Stats().Fallbacks+b.Stats().Fallbacks == before
	})
	oneLoad(t, []*fleet.Group[string]{a, b}, 3, func(key string) int { return s.watches(key) })
}

// A process that is cut off loads for itself. If it held the key the others
// take over, and when it is back its write is rejected, and its callers get
// the newer value.
func TestCutOffHolder(t *testing.T) {
	fleettest.Slow(t)
	t.Parallel()
	s := serve(t)
	l := newLine(t, s.addr())
	const lease = 4 * time.Second
	opts := []fleet.Option{fleet.Lease(lease), fleet.EngineTimeout(time.Second)}
	a, b := newGroup(t, dial(t, l.addr()), opts...), newGroup(t, s.dial(), opts...)
	l1, l2 := fleettest.NewLoader(), fleettest.NewLoader()
	here := fleettest.Start(t, a, "k", l1.Fn)
	ctx := l1.Running(t)
	there := fleettest.Start(t, b, "k", l2.Fn)
	fleettest.Until(t, "two watches", func() bool { return s.watches("k") == 2 })
	l.set(true)
	cut := time.Now()
	l2.Running(t)
	if d := time.Since(cut); d > lease+time.Second+2*time.Second { // and 2 for the machine
		t.Errorf("taken over after %v, want the lease plus one second", d)
	}
	l.set(false)
	select {
	case <-ctx.Done():
	case <-time.After(fleettest.Patience):
		t.Fatal("the load that lost its lease is not canceled")
	}
	l2.Give("newer")
	there.Want(t, "who took over", "newer")
	here.Want(t, "who was cut off", "newer")
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
		ld := fleettest.NewLoader()
		here := fleettest.Start(t, a, state, ld.Fn)
		ld.Running(t)
		l.tap(nil)
		fleettest.Until(t, "the watch", func() bool { return s.watches(state) == 1 })
		there := fleettest.Start(t, b, state, ld.Fn)
		fleettest.Until(t, "two watches", func() bool { return s.watches(state) == 2 })
		if state == "done" {
			lose()
		}
		ld.Give("v")
		here.Want(t, "where fn ran, "+state, "v")
		there.Want(t, "elsewhere, "+state, "v")
		ld.Idle(t)
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
	fleettest.Slow(t)
	t.Parallel()
	master := serve(t)
	link := newLine(t, master.addr())
	replica := serve(t, "--replicaof", "127.0.0.1", fmt.Sprint(link.ln.Addr().(*net.TCPAddr).Port), "--repl-diskless-sync-delay", "0")
	fleettest.Until(t, "the replica", func() bool {
		return strings.Contains(replica.do("INFO", "replication"), "master_link_status:up")
	})
	// The line stands for the name of the master.
	l := newLine(t, master.addr())
	const lease = 4 * time.Second
	opts := []fleet.Option{fleet.Lease(lease), fleet.EngineTimeout(time.Second)}
	a, b := newGroup(t, dial(t, l.addr()), opts...), newGroup(t, dial(t, l.addr()), opts...)

	// A claim that was replicated survives.
	l0 := fleettest.NewLoader()
	here := fleettest.Start(t, a, "k0", l0.Fn)
	l0.Running(t)
	fleettest.Until(t, "the claim on the replica", func() bool { return replica.do("EXISTS", prefix+":{k0}") == "1" })

	// One that was not is lost.
	link.set(true)
	l1, l2 := fleettest.NewLoader(), fleettest.NewLoader()
	first := fleettest.Start(t, a, "k", l1.Fn)
	ctx := l1.Running(t)
	fleettest.Until(t, "its watch", func() bool { return master.watches("k") == 1 })
	claimed := time.Now()
	master.kill()
	replica.do("REPLICAOF", "NO", "ONE")
	l.lead(replica.addr())
	fleettest.Until(t, "the new master to be found", func() bool { return replica.subscribers() == 2 })

	second := fleettest.Start(t, b, "k", l2.Fn)
	l2.Running(t)
	select {
	case <-ctx.Done():
	case <-time.After(fleettest.Patience):
		t.Fatal("the first load goes on")
	}
	if d := time.Since(claimed); d > lease+2*time.Second {
		t.Errorf("the first load was canceled after %v, want half the lease of %v and a request", d, lease)
	}
	l2.Give("v2")
	second.Want(t, "where the second load ran", "v2")
	first.Want(t, "where the first load ran", "v2")

	there := fleettest.Start(t, b, "k0", l0.Fn)
	fleettest.Until(t, "both watches", func() bool { return replica.watches("k0") == 2 })
	l0.Give("v0")
	here.Want(t, "the holder of the claim that survived", "v0")
	there.Want(t, "who waited for it", "v0")
	l0.Idle(t)
}

func TestFleetOnACluster(t *testing.T) {
	fleettest.Slow(t)
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
	fleettest.Slow(t)
	t.Parallel()
	master := serve(t)
	replica := serve(t, "--replicaof", "127.0.0.1", fmt.Sprint(master.port), "--repl-diskless-sync-delay", "0")
	fleettest.Until(t, "the replica", func() bool {
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
	fleettest.Until(t, "the promotion", func() bool { return strings.Contains(replica.do("INFO", "replication"), "role:master") })
	fleettest.Until(t, "the clients to find the new master", func() bool { return replica.subscribers() >= 2 })
	fleettest.Until(t, "the processes to agree again", func() bool {
		before := groups[0].Stats().Fallbacks + groups[1].Stats().Fallbacks
		for _, g := range groups {
			fleettest.Start(t, g, "again", func(context.Context) (string, error) { return "w", nil }).Want(t, "afterwards", "w")
		}
		return groups[0].Stats().Fallbacks+groups[1].Stats().Fallbacks == before
	})
	oneLoad(t, groups, 3, replica.watches)
}
