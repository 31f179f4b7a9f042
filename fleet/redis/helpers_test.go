// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/fleettest"
	"example.com/singleflight/fleet/redis"
)

// silence is a logger: the client logs each lost connection.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// A server is a redis-server on a free port, with a directory of its own.
type server struct {
	t    testing.TB
	port int
	args []string
	log  string
	dir  string

	cmd    *exec.Cmd // nil while it is stopped
	exited chan struct{}
	admin  *goredis.Client
}

// freePort returns a port that is free, and not one of those that the system
// hands out by itself, to the tests beside this one. A server of a cluster
// needs the one that is 10,000 higher too.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 12_000 + rand.IntN(10_000)
		if _, used := ports.LoadOrStore(port, true); !used && free(port) && free(port+10_000) {
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

var ports sync.Map // those that freePort has returned

func free(port int) bool {
	ln, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		return false
	}
	ln.Close()
	return true
}

// serve starts a server that ends with the test. It keeps nothing when it is
// killed, unless the arguments say so.
func serve(t testing.TB, args ...string) *server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("these tests need a redis-server; Debian's package is redis-server")
	}
	dir := t.TempDir()
	s := &server{t: t, port: freePort(t), dir: dir, log: filepath.Join(dir, "log")}
	s.args = append([]string{path,
		"--bind", "127.0.0.1", "--port", fmt.Sprint(s.port), "--dir", dir,
		"--save", "", "--logfile", s.log}, args...)
	t.Cleanup(s.kill)
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	cmd := exec.Command(s.args[0], s.args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, exited := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // the signal comes when the thread ends, not the process
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	s.cmd, s.exited = cmd, exited
	c := s.dialOnce()
	fleettest.Until(s.t, "the server to answer", func() bool {
		select {
		case <-exited:
			log, _ := os.ReadFile(s.log)
			s.t.Fatalf("the server has ended: %v\n%s", cmd.ProcessState, log)
		default:
		}
		return c.Ping(context.Background()).Err() == nil
	})
	if info := s.do("INFO", "server"); !strings.Contains(info, fmt.Sprintf("process_id:%d\r", s.cmd.Process.Pid)) {
		s.t.Fatalf("another server than this test's answers on port %d", s.port)
	}
}

// kill ends the server as if the machine had lost power.
func (s *server) kill() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		<-s.exited
		s.cmd = nil
	}
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// freeze has the server accept what comes and answer nothing, until thaw.
func (s *server) freeze() { s.signal(syscall.SIGSTOP) }
func (s *server) thaw()   { s.signal(syscall.SIGCONT) }

func (s *server) addr() string { return fmt.Sprint("127.0.0.1:", s.port) }

// dial returns a client that is closed with the test.
func (s *server) dial(set ...func(*goredis.Options)) *goredis.Client {
	s.t.Helper()
	return dial(s.t, s.addr(), set...)
}

func (s *server) dialFrom(t testing.TB, set ...func(*goredis.Options)) *goredis.Client {
	t.Helper()
	return dial(t, s.addr(), set...)
}

func dial(t testing.TB, addr string, set ...func(*goredis.Options)) *goredis.Client {
	t.Helper()
	opts := &goredis.Options{Addr: addr}
	for _, set := range set {
		set(opts)
	}
	c := goredis.NewClient(opts)
	t.Cleanup(func() { c.Close() })
	return c
}

// dialOnce returns a client for questions about the server.
func (s *server) dialOnce() *goredis.Client {
	if s.admin == nil {
		s.admin = s.dial()
	}
	return s.admin
}

// do sends a command that has to succeed.
func (s *server) do(args ...any) string {
	s.t.Helper()
	got, err := s.dialOnce().Do(context.Background(), args...).Result()
	if err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
	return fmt.Sprint(got)
}

func open(t testing.TB, c goredis.UniversalClient) *redis.Engine {
	t.Helper()
	return openAt(t, c, prefix)
}

func openAt(t testing.TB, c goredis.UniversalClient, prefix string) *redis.Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
	defer cancel()
	e, err := redis.Open(ctx, c, prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

const prefix = "flights"

func name(key string) engine.Name { return engine.Name{Key: key, Part: "now"} }

// write has to succeed.
func write(t testing.TB, e engine.Engine, key string, put engine.Put) uint64 {
	t.Helper()
	rev, err := e.Write(t.Context(), name(key), put)
	if err != nil || rev == 0 {
		t.Fatalf("Write(%q, %+v) = %d, %v", key, put, rev, err)
	}
	return rev
}

func latest(t testing.TB, e engine.Engine, key string) engine.Entry {
	t.Helper()
	entry, err := e.Latest(t.Context(), name(key))
	if err != nil {
		t.Fatalf("Latest(%q): %v", key, err)
	}
	return entry
}

// receive returns the next record, marker or expiry from a watch.
func receive(t testing.TB, watch <-chan engine.Entry) engine.Entry {
	t.Helper()
	select {
	case entry, open := <-watch:
		if !open {
			t.Fatal("the watch has ended")
		}
		if entry.Part == "" { // it has sent all that was stored
			return receive(t, watch)
		}
		return entry
	case <-time.After(fleettest.Patience):
		t.Fatalf("no news within %v", fleettest.Patience)
	}
	panic("unreachable")
}

func want(t testing.TB, what string, got engine.Entry, rev uint64, data string, gone bool) {
	t.Helper()
	if got.Part != "now" || got.Rev != rev || string(got.Data) != data || got.Gone != gone {
		t.Errorf("%s: got %+v with %q, want revision %d, %q, gone %v", what, got, got.Data, rev, data, gone)
	}
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func newGroup(t testing.TB, c goredis.UniversalClient, opts ...fleet.Option) *fleet.Group[string] {
	t.Helper()
	return newGroupOn(t, open(t, c), opts...)
}

func newGroupOn(t testing.TB, e *redis.Engine, opts ...fleet.Option) *fleet.Group[string] {
	t.Helper()
	g, err := fleet.New[string](e, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// watches is how many processes watch a key.
func (s *server) watches(key string) int {
	channel := prefix + ":{" + key + "}"
	n := s.dialOnce().PubSubNumSub(context.Background(), channel).Val()[channel]
	return int(n)
}

// A line is a network between clients and a server, that can be cut, mended and
// led to another server. What is sent while it is cut arrives afterwards.
type line struct {
	ln net.Listener
	wg sync.WaitGroup

	mu     sync.Mutex
	cond   *sync.Cond
	to     string
	held   bool // nothing gets through
	done   bool
	conns  []net.Conn
	number int // of connections so far
	tapped func(conn int, fromClient bool, data []byte) verdict
}

func newLine(t testing.TB, to string) *line {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{ln: ln, to: to}
	l.cond = sync.NewCond(&l.mu)
	l.wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			l.mu.Lock()
			to := l.to
			l.mu.Unlock()
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			l.mu.Lock()
			if l.done {
				client.Close()
				server.Close()
			}
			l.conns = append(l.conns, client, server)
			l.number++
			conn := l.number
			l.mu.Unlock()
			l.wg.Go(func() { l.carry(conn, client, server, true) })
			l.wg.Go(func() { l.carry(conn, server, client, false) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		l.mu.Lock()
		l.done = true
		l.mu.Unlock()
		l.cond.Broadcast()
		l.drop()
		l.wg.Wait()
	})
	return l
}

func (l *line) addr() string { return l.ln.Addr().String() }

func (l *line) carry(conn int, from, to net.Conn, fromClient bool) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		for l.held && !l.done {
			l.cond.Wait()
		}
		tapped := l.tapped
		l.mu.Unlock()
		if n > 0 && tapped != nil {
			switch tapped(conn, fromClient, buf[:n]) {
			case cut:
				return
			case drop:
				n = 0
			}
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// accepted returns how many connections there have been.
func (l *line) accepted() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.number
}

// drop closes all connections.
func (l *line) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// set cuts the line, or mends it.
func (l *line) set(held bool) {
	l.mu.Lock()
	l.held = held
	l.mu.Unlock()
	l.cond.Broadcast()
}

// lead leads new connections to another server, and closes the old ones.
func (l *line) lead(to string) {
	l.mu.Lock()
	l.to = to
	l.mu.Unlock()
	l.drop()
}

// A verdict is what becomes of data on a line.
type verdict int

const (
	pass verdict = iota
	drop         // they are lost, and the connection stays
	cut          // the connection is closed
)

// tap has f see all data, with the number of its connection, and decide what
// becomes of them.
func (l *line) tap(f func(conn int, fromClient bool, data []byte) verdict) {
	l.mu.Lock()
	l.tapped = f
	l.mu.Unlock()
}

// watchdog starts a Sentinel that watches a master, and returns its address.
func watchdog(t testing.TB, master *server) string {
	t.Helper()
	port, dir := freePort(t), t.TempDir()
	conf := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %d\ndir %s\nlogfile %s\nsentinel monitor main 127.0.0.1 %d 1\n"+
		"sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 5000\n", port, dir, filepath.Join(dir, "log"), master.port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, port: port, args: []string{master.args[0], conf, "--sentinel"}}
	t.Cleanup(s.kill)
	s.start()
	fleettest.Until(t, "Sentinel to know the replica", func() bool {
		return strings.Contains(s.do("SENTINEL", "REPLICAS", "main"), "127.0.0.1")
	})
	return s.addr()
}
