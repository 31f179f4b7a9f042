// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/redis"
)

type config struct {
	Addrs  []string // of a server, or of the nodes of a cluster
	Ledger ledger
	Lease  time.Duration
}

// TestMain calls work where the test binary is a worker: a process with a
// Group, which does what it reads from its standard input and reports on its
// output what happens.

// A command is for a worker.
type command struct {
	Do      string // call, time, leave, or how fn is to end: give, fail, panic
	Key     string
	Callers int
	Hold    time.Duration // of a load that is timed
}

// An event is from a worker.
type event struct {
	What  string // ready, loading, waiting, canceled, answered or timed
	Key   string
	Value string         // the name of the load that gave it
	Got   map[string]int // callers, by what they got
	Stats fleet.Stats
	Added time.Duration // to the time that the load took, for one caller
}

func work(raw string) {
	var cfg config
	fatal(json.Unmarshal([]byte(raw), &cfg))
	e, err := redis.Open(context.Background(), goredis.NewUniversalClient(&goredis.UniversalOptions{Addrs: cfg.Addrs}), prefix)
	fatal(err)
	g, err := fleet.New[string](e, fleet.Lease(cfg.Lease), fleet.EngineTimeout(min(2*time.Second, cfg.Lease/4)))
	fatal(err)

	var mu sync.Mutex
	tell := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		fatal(json.NewEncoder(os.Stdout).Encode(e))
	}
	ends := make(chan string, 1)
	callers, leave := context.WithCancel(context.Background())
	load := func(key string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			value := fmt.Sprintf("%s from %d", key, os.Getpid())
			fatal(cfg.Ledger.add(strings.ReplaceAll(value, " ", "_")))
			tell(event{What: "loading", Key: key, Value: value})
			select {
			case how := <-ends:
				switch how {
				case "fail":
					return "", errors.New("broken")
				case "panic":
					panic("boom")
				}
				return value, nil
			case <-ctx.Done():
				tell(event{What: "canceled", Key: key})
				return "", ctx.Err()
			}
		}
	}
	tell(event{What: "ready"})
	in := json.NewDecoder(os.Stdin)
	for {
		var c command
		if err := in.Decode(&c); err != nil {
			os.Exit(0) // the test has ended
		}
		switch c.Do {
		case "call":
			go func() {
				before := g.Stats().Callers
				got := make(map[string]int)
				var gotMu sync.Mutex
				var wg sync.WaitGroup
				for range c.Callers {
					wg.Go(func() {
						v, err, _ := g.DoContext(callers, c.Key, load(c.Key))
						if err != nil {
							v = fmt.Sprintf("%T %v", err, err)
						}
						gotMu.Lock()
						got[v]++
						gotMu.Unlock()
					})
				}
				for {
					s := g.Stats().Callers
					if s.Executions+s.Joined == before.Executions+before.Joined+uint64(c.Callers) {
						break
					}
					time.Sleep(time.Millisecond)
				}
				tell(event{What: "waiting", Key: c.Key})
				wg.Wait()
				tell(event{What: "answered", Key: c.Key, Got: got, Stats: g.Stats()})
			}()
		case "time":
			go func() {
				began := time.Now()
				v, err, _ := g.DoContext(callers, c.Key, func(context.Context) (string, error) {
					began := time.Now()
					time.Sleep(c.Hold)
					return time.Since(began).String(), nil
				})
				took := time.Since(began)
				fatal(err)
				load, err := time.ParseDuration(v)
				fatal(err)
				tell(event{What: "timed", Added: took - load, Stats: g.Stats()})
			}()
		case "leave":
			leave()
		default:
			ends <- c.Do
		}
	}
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(3)
	}
}

// A worker is the test's side of a worker process.
type worker struct {
	t      testing.TB
	cmd    *exec.Cmd
	in     *json.Encoder
	events chan event
	stderr *syncBuffer
	exited chan struct{}
}

// hire starts n workers, which end with the test.
func hire(t testing.TB, n int, cfg config) []*worker {
	t.Helper()
	if cfg.Lease == 0 {
		cfg.Lease = 10 * time.Second
	}
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var workers []*worker
	for range n {
		p := &worker{
			t:      t,
			cmd:    exec.Command(os.Args[0]),
			events: make(chan event, 100),
			stderr: new(syncBuffer),
			exited: make(chan struct{}),
		}
		p.cmd.Env = append(os.Environ(), "FLEET_WORKER="+string(raw))
		p.cmd.Stderr = p.stderr
		in, err := p.cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		p.in = json.NewEncoder(in)
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go p.listen(out)
		t.Cleanup(func() {
			p.cmd.Process.Kill()
			<-p.exited
		})
		workers = append(workers, p)
	}
	for _, p := range workers {
		p.next("ready")
	}
	return workers
}

func (p *worker) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			p.t.Errorf("a worker says %q", lines.Text())
			continue
		}
		p.events <- e
	}
	p.cmd.Wait()
	close(p.exited)
}

func (p *worker) pid() int { return p.cmd.Process.Pid }

func (p *worker) do(c command) {
	p.t.Helper()
	if err := p.in.Encode(c); err != nil {
		p.t.Fatal(err)
	}
}

func (p *worker) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// next waits for an event, and fails the test if it is none of those wanted.
func (p *worker) next(want ...string) event {
	p.t.Helper()
	select {
	case e := <-p.events:
		if !slices.Contains(want, e.What) {
			p.t.Fatalf("worker %d: %+v, want %s", p.pid(), e, want)
		}
		return e
	case <-p.exited:
		p.t.Fatalf("worker %d has ended, and was to be %s:\n%s", p.pid(), want, p.stderr)
	case <-time.After(patience):
		p.signal(syscall.SIGQUIT) // so that it says where it waits
		<-p.exited
		p.t.Fatalf("worker %d: not %s within %v:\n%s", p.pid(), want, patience, p.stderr)
	}
	panic("unreachable")
}

func (p *worker) wantAnswer(callers int, v string) {
	p.t.Helper()
	if e := p.next("answered"); len(e.Got) != 1 || e.Got[v] != callers {
		p.t.Errorf("worker %d got %v, want %q for all %d callers", p.pid(), e.Got, v, callers)
	}
}

// together has all workers' callers ask for key, the first one's first, and
// returns the load's value when all callers wait for it.
func together(t testing.TB, s *server, workers []*worker, key string, callers int) (value string) {
	t.Helper()
	workers[0].do(command{Do: "call", Key: key, Callers: callers})
	first := map[string]event{}
	for range 2 { // in either order
		e := workers[0].next("loading", "waiting")
		first[e.What] = e
	}
	if first["loading"].Key != key || first["waiting"].Key != key {
		t.Fatalf("the first worker: %v, want loading and waiting", first)
	}
	for _, p := range workers[1:] {
		p.do(command{Do: "call", Key: key, Callers: callers})
	}
	for _, p := range workers[1:] {
		p.next("waiting")
	}
	until(t, "a watch in every process", func() bool { return s.watches(key) == len(workers) })
	return first["loading"].Value
}

// taken waits for the worker that loads in place of another.
func taken(t testing.TB, workers []*worker) (*worker, event) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, p := range workers {
			select {
			case e := <-p.events:
				if e.What != "loading" {
					t.Fatalf("worker %d: %+v, want loading or nothing", p.pid(), e)
				}
				return p, e
			default:
			}
		}
	}
	t.Fatal("no worker took over")
	return nil, event{}
}

// 8 processes with 1,000 callers each, a cold key, one load; 20 times.
func TestManyProcessesOneLoad(t *testing.T) {
	slow(t)
	t.Parallel()
	const processes, callers, rounds = 8, 1000, 20
	s := serve(t)
	loads := newLedger(t)
	workers := hire(t, processes, config{Addrs: []string{s.addr()}, Ledger: loads})
	for round := range rounds {
		// All workers at once; any of them may load.
		key := fmt.Sprint("k", round)
		for _, p := range workers {
			p.do(command{Do: "call", Key: key, Callers: callers})
		}
		var loader *worker
		var value string
		for _, p := range workers {
			e := p.next("loading", "waiting")
			if e.What == "loading" {
				loader, value = p, e.Value
				p.next("waiting")
			}
		}
		until(t, "a watch in every process", func() bool { return s.watches(key) == processes })
		if loader == nil {
			loader, value = func() (*worker, string) { p, e := taken(t, workers); return p, e.Value }()
		}
		loader.do(command{Do: "give"})
		for _, p := range workers {
			p.wantAnswer(callers, value)
		}
		if n := len(loads.lines()); n != round+1 {
			t.Fatalf("round %d: %d loads, want %d", round, n, round+1)
		}
	}
}

// When the loading process is killed, exactly one other takes over, within
// the lease plus one second.
func TestKilledLoaderIsReplaced(t *testing.T) {
	slow(t)
	t.Parallel()
	const lease = 4 * time.Second
	s := serve(t)
	loads := newLedger(t)
	workers := hire(t, 5, config{Addrs: []string{s.addr()}, Ledger: loads, Lease: lease})
	together(t, s, workers, "k", 10)
	workers[0].signal(syscall.SIGKILL)
	killed := time.Now()
	p, e := taken(t, workers[1:])
	if d := time.Since(killed); d > lease+time.Second {
		t.Errorf("taken over after %v, want at most the lease of %v and a second", d, lease)
	}
	time.Sleep(lease + time.Second) // no other process does, as long as this one lives
	p.do(command{Do: "give"})
	for _, p := range workers[1:] {
		p.wantAnswer(10, e.Value)
	}
	if got := loads.lines(); len(got) != 2 {
		t.Errorf("loads %v, want 2", got)
	}
}

// A process that is stopped for longer than its lease loses the key, and when
// it continues its callers get the newer value.
func TestFrozenLoaderIsReplaced(t *testing.T) {
	slow(t)
	t.Parallel()
	for _, over := range []bool{false, true} {
		t.Run(fmt.Sprintf("over=%v", over), func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			loads := newLedger(t)
			workers := hire(t, 3, config{Addrs: []string{s.addr()}, Ledger: loads, Lease: 4 * time.Second})
			together(t, s, workers, "k", 10)
			workers[0].signal(syscall.SIGSTOP)
			p, e := taken(t, workers[1:])
			end := func() {
				p.do(command{Do: "give"})
				for _, p := range workers[1:] {
					p.wantAnswer(10, e.Value)
				}
			}
			if over {
				end()
			}
			workers[0].signal(syscall.SIGCONT)
			if !over {
				workers[0].next("canceled")
				end()
				workers[0].wantAnswer(10, e.Value)
			} else {
				for range 2 { // in either order
					if got := workers[0].next("canceled", "answered"); got.What == "answered" && got.Got[e.Value] != 10 {
						t.Errorf("the process that was stopped got %v, want %q for all 10 callers", got.Got, e.Value)
					}
				}
			}
			if got := loads.lines(); len(got) != 2 {
				t.Errorf("loads %v, want 2", got)
			}
		})
	}
}

func TestFailureReachesEveryOtherProcess(t *testing.T) {
	slow(t)
	t.Parallel()
	s := serve(t)
	loads := newLedger(t)
	workers := hire(t, 3, config{Addrs: []string{s.addr()}, Ledger: loads})
	together(t, s, workers, "k", 10)
	workers[0].do(command{Do: "fail"})
	workers[0].wantAnswer(10, "*errors.errorString broken")
	for _, p := range workers[1:] {
		p.wantAnswer(10, "*fleet.RemoteError loading in another process: broken")
	}
	// A panic ends the process where fn ran, with fn in the trace.
	together(t, s, workers, "k", 10)
	workers[0].do(command{Do: "panic"})
	select {
	case <-workers[0].exited:
	case <-time.After(patience):
		t.Fatal("the process did not end")
	}
	if s := workers[0].stderr.String(); !strings.Contains(s, "boom") || !strings.Contains(s, "work.func") {
		t.Errorf("the trace does not show the panic and fn:\n%s", s)
	}
	for _, p := range workers[1:] {
		p.wantAnswer(10, "*fleet.RemoteError loading in another process: panic: boom")
	}
	if got := loads.lines(); len(got) != 2 {
		t.Errorf("loads %v, want 2", got)
	}
}

func TestLastCallerLeavingItsProcessHandsOver(t *testing.T) {
	slow(t)
	t.Parallel()
	s := serve(t)
	loads := newLedger(t)
	workers := hire(t, 4, config{Addrs: []string{s.addr()}, Ledger: loads, Lease: time.Hour})
	together(t, s, workers, "k", 10)
	workers[0].do(command{Do: "leave"})
	for range 2 {
		workers[0].next("canceled", "answered")
	}
	p, e := taken(t, workers[1:])
	p.do(command{Do: "give"})
	for _, p := range workers[1:] {
		p.wantAnswer(10, e.Value)
	}
	if got := loads.lines(); len(got) != 2 {
		t.Errorf("loads %v, want 2", got)
	}
}

func TestLoadOutlastsTheLeaseOfItsProcess(t *testing.T) {
	slow(t)
	t.Parallel()
	s := serve(t)
	loads := newLedger(t)
	workers := hire(t, 3, config{Addrs: []string{s.addr()}, Ledger: loads, Lease: 4 * time.Second})
	v := together(t, s, workers, "k", 10)
	time.Sleep(6 * time.Second)
	workers[0].do(command{Do: "give"})
	for _, p := range workers {
		p.wantAnswer(10, v)
	}
	if got := loads.lines(); len(got) != 1 {
		t.Errorf("loads %v, want 1", got)
	}
}
