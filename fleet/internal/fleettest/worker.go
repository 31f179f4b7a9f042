// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleettest

import (
	"bufio"
	"bytes"
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

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/internal/engine"
)

// Main is for TestMain. It runs the tests, and fails if a goroutine of package
// fleet, or one that has a string of leaks in its stack, is left at the end.
//
// The test binary is also the worker: a process with a Group, which does what it
// reads from its standard input, and reports on its output what happens. There,
// Main runs a worker on the engine that open returns for [Server.Address].
func Main(m *testing.M, open func(address string) (engine.Engine, error), leaks ...string) {
	if raw := os.Getenv(workerVariable); raw != "" {
		work(raw, open)
		return
	}
	flag.Set("test.parallel", "8") // unless given: most of the time the tests wait for a lease to end
	status := m.Run()
	if status == 0 {
		status = left(append(leaks, "singleflight/fleet."))
	}
	os.Exit(status)
}

const workerVariable = "FLEET_WORKER"

// left returns 1 if goroutines that have one of the strings in their stacks do
// not end.
func left(stacks []string) (status int) {
	var b strings.Builder
	for deadline := time.Now().Add(Patience); ; time.Sleep(10 * time.Millisecond) {
		b.Reset()
		pprof.Lookup("goroutine").WriteTo(&b, 1)
		if !slices.ContainsFunc(stacks, func(s string) bool { return strings.Contains(b.String(), s) }) {
			return 0
		}
		if time.Now().After(deadline) {
			fmt.Println("goroutines are left:\n", b.String())
			return 1
		}
	}
}

// A config is for a worker.
type config struct {
	Address string
	Loads   ledger
	Lease   time.Duration
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
	Value string         // of the load
	Got   map[string]int // callers, by what they got
	Stats fleet.Stats
	Added time.Duration // to the time that the load took, for one caller
}

func work(raw string, open func(string) (engine.Engine, error)) {
	var cfg config
	fatal(json.Unmarshal([]byte(raw), &cfg))
	e, err := open(cfg.Address)
	fatal(err)
	g, err := fleet.New[string](e, fleet.Lease(cfg.Lease), fleet.EngineTimeout(min(2*time.Second, cfg.Lease/4)))
	fatal(err)

	var mu sync.Mutex
	report := func(e event) {
		mu.Lock()
		defer mu.Unlock()
		fatal(json.NewEncoder(os.Stdout).Encode(e))
	}
	ends := make(chan string, 1)
	callers, leave := context.WithCancel(context.Background())
	load := func(key string) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			value := fmt.Sprintf("%s from %d", key, os.Getpid())
			fatal(cfg.Loads.add(strings.ReplaceAll(value, " ", "_")))
			report(event{What: "loading", Key: key, Value: value})
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
				report(event{What: "canceled", Key: key})
				return "", ctx.Err()
			}
		}
	}
	report(event{What: "ready"})
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
				report(event{What: "waiting", Key: c.Key})
				wg.Wait()
				report(event{What: "answered", Key: c.Key, Got: got, Stats: g.Stats()})
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
				report(event{What: "timed", Added: took - load, Stats: g.Stats()})
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
	stderr *Buffer
	exited chan struct{}
}

// startWorkers starts n workers, which end with the test.
func startWorkers(t testing.TB, n int, cfg config) []*worker {
	t.Helper()
	raw, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var workers []*worker
	for range n {
		w := &worker{
			t:      t,
			cmd:    exec.Command(os.Args[0]),
			events: make(chan event, 100),
			stderr: new(Buffer),
			exited: make(chan struct{}),
		}
		w.cmd.Env = append(os.Environ(), workerVariable+"="+string(raw))
		w.cmd.Stderr = w.stderr
		in, err := w.cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		w.in = json.NewEncoder(in)
		out, err := w.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go w.listen(out)
		t.Cleanup(func() {
			w.cmd.Process.Kill()
			<-w.exited
		})
		workers = append(workers, w)
	}
	for _, w := range workers {
		w.next("ready")
	}
	return workers
}

func (w *worker) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			w.t.Errorf("a worker says %q", lines.Text())
			continue
		}
		w.events <- e
	}
	w.cmd.Wait()
	close(w.exited)
}

func (w *worker) pid() int { return w.cmd.Process.Pid }

func (w *worker) do(c command) {
	w.t.Helper()
	if err := w.in.Encode(c); err != nil {
		w.t.Fatal(err)
	}
}

func (w *worker) signal(s syscall.Signal) {
	w.t.Helper()
	if err := w.cmd.Process.Signal(s); err != nil {
		w.t.Fatal(err)
	}
}

// next waits for an event, and fails the test if it is none of those wanted.
func (w *worker) next(want ...string) event {
	w.t.Helper()
	select {
	case e := <-w.events:
		if !slices.Contains(want, e.What) {
			w.t.Fatalf("worker %d: %+v, want %s", w.pid(), e, want)
		}
		return e
	case <-w.exited:
		w.t.Fatalf("worker %d has ended, want %s:\n%s", w.pid(), want, w.stderr)
	case <-time.After(Patience):
		w.signal(syscall.SIGQUIT) // so that it prints where it waits
		<-w.exited
		w.t.Fatalf("worker %d: nothing within %v, want %s:\n%s", w.pid(), Patience, want, w.stderr)
	}
	panic("unreachable")
}

// wantAnswer checks that all callers in the worker got v.
func (w *worker) wantAnswer(callers int, v string) {
	w.t.Helper()
	if e := w.next("answered"); len(e.Got) != 1 || e.Got[v] != callers {
		w.t.Errorf("worker %d got %v, want %q for all %d callers", w.pid(), e.Got, v, callers)
	}
}

// awaitLoad waits until one of the workers loads, and returns the load's value.
func awaitLoad(t testing.TB, workers []*worker) (w *worker, value string) {
	t.Helper()
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, w := range workers {
			select {
			case e := <-w.events:
				if e.What != "loading" {
					t.Fatalf("worker %d: %+v, want loading or nothing", w.pid(), e)
				}
				return w, e.Value
			default:
			}
		}
	}
	t.Fatalf("no load within %v", Patience)
	panic("unreachable")
}

// A ledger is a file that has the loads of all processes.
type ledger string

func (l ledger) add(line string) error {
	f, err := os.OpenFile(string(l), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}

// want checks how many loads there were.
func (l ledger) want(t testing.TB, n int) {
	t.Helper()
	b, _ := os.ReadFile(string(l))
	if loads := strings.Fields(string(b)); len(loads) != n {
		t.Errorf("%d loads, want %d: %v", len(loads), n, loads)
	}
}

// A Buffer is a bytes.Buffer that is safe for concurrent use.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
