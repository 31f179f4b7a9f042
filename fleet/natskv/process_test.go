// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/natskv"
)

// The test binary is also the worker: a process with a Group, that does what
// it reads from its standard input and tells what happens on its output.
func TestMain(m *testing.M) {
	if cfg := os.Getenv("FLEET_WORKER"); cfg != "" {
		work(cfg)
		return
	}
	if cfg := os.Getenv("FLEET_NODE"); cfg != "" {
		serveNode(cfg)
		return
	}
	flag.Set("test.parallel", "8") // unless given: they wait, most of the time, for the server's clock
	status := m.Run()
	if status == 0 {
		status = leaks()
	}
	os.Exit(status)
}

// leaks fails the run if a flight has outlived its test.
func leaks() int {
	var b strings.Builder
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		b.Reset()
		pprof.Lookup("goroutine").WriteTo(&b, 1)
		if s := b.String(); !strings.Contains(s, "singleflight/fleet.") && !strings.Contains(s, "fleet/natskv.") && !strings.Contains(s, "jetstream.(*kvs)") {
			return 0
		}
		if time.Now().After(deadline) {
			fmt.Println("goroutines of the packages are left:\n", b.String())
			return 1
		}
	}
}

type config struct {
	URL    string
	Ledger ledger
	Lease  time.Duration
}

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
	nc, err := nats.Connect(cfg.URL, nats.MaxReconnects(-1))
	fatal(err)
	js, err := jetstream.New(nc)
	fatal(err)
	e, err := natskv.Open(context.Background(), js, bucket)
	fatal(err)
	g, err := fleet.New[string](e, fleet.Lease(cfg.Lease), fleet.EngineTimeout(min(cfg.Lease/4, 2*time.Second)))
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
func (w *world) hire(n int, cfg config) []*worker {
	w.t.Helper()
	if cfg.URL == "" {
		cfg.URL = w.srv.ClientURL()
	}
	if cfg.Lease == 0 {
		cfg.Lease = 10 * time.Second
	}
	raw, err := json.Marshal(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	var workers []*worker
	for range n {
		p := &worker{
			t:      w.t,
			cmd:    exec.Command(os.Args[0]),
			events: make(chan event, 100),
			stderr: new(syncBuffer),
			exited: make(chan struct{}),
		}
		p.cmd.Env = append(os.Environ(), "FLEET_WORKER="+string(raw))
		p.cmd.Stderr = p.stderr
		in, err := p.cmd.StdinPipe()
		if err != nil {
			w.t.Fatal(err)
		}
		p.in = json.NewEncoder(in)
		out, err := p.cmd.StdoutPipe()
		if err != nil {
			w.t.Fatal(err)
		}
		if err := p.cmd.Start(); err != nil {
			w.t.Fatal(err)
		}
		go p.listen(out)
		w.t.Cleanup(func() {
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
		p.t.Fatalf("worker %d: not %s within %v", p.pid(), want, patience)
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
func together(w *world, workers []*worker, key string, callers int) (value string) {
	w.t.Helper()
	workers[0].do(command{Do: "call", Key: key, Callers: callers})
	first := map[string]event{}
	for range 2 { // in either order
		e := workers[0].next("loading", "waiting")
		first[e.What] = e
	}
	if first["loading"].Key != key || first["waiting"].Key != key {
		w.t.Fatalf("the first worker: %v, want loading and waiting", first)
	}
	for _, p := range workers[1:] {
		p.do(command{Do: "call", Key: key, Callers: callers})
	}
	for _, p := range workers[1:] {
		p.next("waiting")
	}
	until(w.t, "a watch in every process", func() bool { return watches(w.js, key) == len(workers) })
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
	w := newWorld(t, 0)
	loads := newLedger(t)
	workers := w.hire(processes, config{Ledger: loads})
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
		until(t, "a watch in every process", func() bool { return watches(w.js, key) == processes })
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
	const lease = 2 * time.Second
	w := newWorld(t, 0)
	loads := newLedger(t)
	workers := w.hire(5, config{Ledger: loads, Lease: lease})
	together(w, workers, "k", 10)
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
			w := newWorld(t, 0)
			loads := newLedger(t)
			workers := w.hire(3, config{Ledger: loads, Lease: 2 * time.Second})
			together(w, workers, "k", 10)
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
			workers[0].next("canceled")
			if !over {
				end()
			}
			workers[0].wantAnswer(10, e.Value)
			if got := loads.lines(); len(got) != 2 {
				t.Errorf("loads %v, want 2", got)
			}
		})
	}
}

func TestFailureReachesEveryOtherProcess(t *testing.T) {
	slow(t)
	t.Parallel()
	w := newWorld(t, 0)
	loads := newLedger(t)
	workers := w.hire(3, config{Ledger: loads})
	together(w, workers, "k", 10)
	workers[0].do(command{Do: "fail"})
	workers[0].wantAnswer(10, "*errors.errorString broken")
	for _, p := range workers[1:] {
		p.wantAnswer(10, "*fleet.RemoteError loading in another process: broken")
	}
	// A panic ends the process where fn ran, with fn in the trace.
	together(w, workers, "k", 10)
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
	w := newWorld(t, 0)
	loads := newLedger(t)
	workers := w.hire(4, config{Ledger: loads, Lease: time.Hour})
	together(w, workers, "k", 10)
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
	w := newWorld(t, 0)
	loads := newLedger(t)
	workers := w.hire(3, config{Ledger: loads, Lease: time.Second})
	v := together(w, workers, "k", 10)
	time.Sleep(4 * time.Second)
	workers[0].do(command{Do: "give"})
	for _, p := range workers {
		p.wantAnswer(10, v)
	}
	if got := loads.lines(); len(got) != 1 {
		t.Errorf("loads %v, want 1", got)
	}
}
