// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleettest

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/singleflight/fleet/internal/engine"
)

// A Server is an engine's server, which ends with the test.
type Server struct {
	Address string               // for the worker: see [Main]
	Engine  engine.Engine        // a connection of the test's own
	Watches func(key string) int // returns how many there are of a key, or -1 if that is unknown
}

// A processTest has several processes on one server.
type processTest struct {
	Server
	t       testing.TB
	loads   ledger
	workers []*worker
}

// lease is long enough that a process on a busy machine renews it in time.
const lease = 3 * time.Second

// withProcesses skips the test with -short, and runs it in parallel.
func withProcesses(t *testing.T, serve func(testing.TB) Server, n int, lease time.Duration) *processTest {
	t.Helper()
	Slow(t)
	t.Parallel()
	return newProcessTest(t, serve, n, lease)
}

func newProcessTest(t testing.TB, serve func(testing.TB) Server, n int, lease time.Duration) *processTest {
	t.Helper()
	p := &processTest{Server: serve(t), t: t, loads: ledger(filepath.Join(t.TempDir(), "loads"))}
	p.workers = startWorkers(t, n, config{Address: p.Address, Loads: p.loads, Lease: lease})
	return p
}

// begin has all workers' callers ask for key, the first one's first, and
// returns the value of the load when all callers wait for it.
func (p *processTest) begin(key string, callers int) (value string) {
	p.t.Helper()
	first := p.workers[0]
	first.do(command{Do: "call", Key: key, Callers: callers})
	events := make(map[string]event)
	for range 2 { // in either order
		e := first.next("loading", "waiting")
		events[e.What] = e
	}
	if events["loading"].Key != key || events["waiting"].Key != key {
		p.t.Fatalf("the first worker: %v, want loading and waiting", events)
	}
	for _, w := range p.workers[1:] {
		w.do(command{Do: "call", Key: key, Callers: callers})
	}
	for _, w := range p.workers[1:] {
		w.next("waiting")
	}
	p.awaitWatches(key)
	return events["loading"].Value
}

func (p *processTest) awaitWatches(key string) {
	p.t.Helper()
	Until(p.t, "a watch in every process", func() bool { return p.Watches(key) == len(p.workers) })
}

// awaitRenewals waits until the load of key has renewed its lease so often that
// it has held it for longer than the lease.
func (p *processTest) awaitRenewals(key string) {
	p.t.Helper()
	watch := p.Engine.Watch(p.t.Context(), key)
	const enough = 3           // one every half lease
	for n := -1; n < enough; { // the first is the record that is there
		select {
		case e, open := <-watch:
			switch {
			case !open:
				p.t.Fatal("the watch has ended")
			case len(e.Data) > 0:
				n++
			}
		case <-time.After(Patience):
			p.t.Fatalf("%d renewals within %v, want %d", n, Patience, enough)
		}
	}
}

// ManyProcessesOneLoad has 8 processes with 1,000 callers each ask for a cold
// key, 20 times. There is one load each time.
func ManyProcessesOneLoad(t *testing.T, serve func(testing.TB) Server) {
	const processes, callers, rounds = 8, 1000, 20
	p := withProcesses(t, serve, processes, 10*time.Second)
	for round := range rounds {
		// All workers at once; any of them may load.
		key := fmt.Sprint("k", round)
		for _, w := range p.workers {
			w.do(command{Do: "call", Key: key, Callers: callers})
		}
		var loader *worker
		var value string
		for _, w := range p.workers {
			e := w.next("loading", "waiting")
			if e.What == "loading" {
				loader, value = w, e.Value
				w.next("waiting")
			}
		}
		p.awaitWatches(key)
		if loader == nil {
			loader, value = awaitLoad(t, p.workers)
		}
		loader.do(command{Do: "give"})
		for _, w := range p.workers {
			w.wantAnswer(callers, value)
		}
		p.loads.want(t, round+1)
	}
}

// KilledLoaderIsReplaced kills the process that loads. Exactly one other takes
// over, within the lease plus one second.
func KilledLoaderIsReplaced(t *testing.T, serve func(testing.TB) Server) {
	const callers = 10
	p := withProcesses(t, serve, 5, lease)
	p.begin("k", callers)
	p.workers[0].signal(syscall.SIGKILL)
	killed := time.Now()
	w, value := awaitLoad(t, p.workers[1:])
	if d := time.Since(killed); d > lease+time.Second {
		t.Errorf("another took over after %v, want at most the lease of %v and a second", d, lease)
	}
	p.awaitRenewals("k")
	w.do(command{Do: "give"})
	for _, w := range p.workers[1:] {
		w.wantAnswer(callers, value)
	}
	p.loads.want(t, 2)
}

// FrozenLoaderIsReplaced stops the process that loads for longer than its lease.
// It loses the key, and when it continues, fn is canceled, and its callers get
// the newer value, whether the newer load is over by then or not.
func FrozenLoaderIsReplaced(t *testing.T, serve func(testing.TB) Server) {
	for _, over := range []bool{false, true} {
		t.Run(fmt.Sprintf("over=%v", over), func(t *testing.T) {
			const callers = 10
			p := withProcesses(t, serve, 3, lease)
			p.begin("k", callers)
			frozen := p.workers[0]
			frozen.signal(syscall.SIGSTOP)
			w, value := awaitLoad(t, p.workers[1:])
			end := func() {
				w.do(command{Do: "give"})
				for _, w := range p.workers[1:] {
					w.wantAnswer(callers, value)
				}
			}
			if over {
				end()
			}
			frozen.signal(syscall.SIGCONT)
			if !over {
				frozen.next("canceled")
				end()
				frozen.wantAnswer(callers, value)
			} else {
				for range 2 { // in either order
					if e := frozen.next("canceled", "answered"); e.What == "answered" && e.Got[value] != callers {
						t.Errorf("the process that was stopped got %v, want %q for all %d callers", e.Got, value, callers)
					}
				}
			}
			p.loads.want(t, 2)
		})
	}
}

// FailureReachesEveryOtherProcess has fn fail, and then panic, which ends its
// process. The callers in other processes get a RemoteError.
func FailureReachesEveryOtherProcess(t *testing.T, serve func(testing.TB) Server) {
	const callers = 10
	p := withProcesses(t, serve, 3, 10*time.Second)
	first := p.workers[0]
	p.begin("k", callers)
	first.do(command{Do: "fail"})
	first.wantAnswer(callers, "*errors.errorString broken")
	for _, w := range p.workers[1:] {
		w.wantAnswer(callers, "*fleet.RemoteError loading in another process: broken")
	}

	p.begin("k", callers)
	first.do(command{Do: "panic"})
	select {
	case <-first.exited:
	case <-time.After(Patience):
		t.Fatal("the process did not end")
	}
	if s := first.stderr.String(); !strings.Contains(s, "boom") || !strings.Contains(s, "work.func") {
		t.Errorf("the trace does not show the panic and fn:\n%s", s)
	}
	for _, w := range p.workers[1:] {
		w.wantAnswer(callers, "*fleet.RemoteError loading in another process: panic: boom")
	}
	p.loads.want(t, 2)
}

// LastCallerLeavingItsProcessHandsOver has all callers leave in the process that
// loads. Another that waits takes over long before the lease ends.
func LastCallerLeavingItsProcessHandsOver(t *testing.T, serve func(testing.TB) Server) {
	const callers = 10
	p := withProcesses(t, serve, 4, time.Hour)
	p.begin("k", callers)
	p.workers[0].do(command{Do: "leave"})
	for range 2 {
		p.workers[0].next("canceled", "answered")
	}
	w, value := awaitLoad(t, p.workers[1:])
	w.do(command{Do: "give"})
	for _, w := range p.workers[1:] {
		w.wantAnswer(callers, value)
	}
	p.loads.want(t, 2)
}

// LoadOutlastsTheLeaseOfItsProcess has a load that takes longer than the lease.
// No other process takes over.
func LoadOutlastsTheLeaseOfItsProcess(t *testing.T, serve func(testing.TB) Server) {
	const callers = 10
	p := withProcesses(t, serve, 3, lease)
	value := p.begin("k", callers)
	p.awaitRenewals("k")
	p.workers[0].do(command{Do: "give"})
	for _, w := range p.workers {
		w.wantAnswer(callers, value)
	}
	p.loads.want(t, 1)
}
