// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv_test

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet/natskv"
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "8") // unless given: they wait, most of the time, for the server's clock
	status := m.Run()
	if status == 0 {
		status = leaks()
	}
	os.Exit(status)
}

// leaks fails the run if a goroutine has outlived its test.
func leaks() int {
	var b strings.Builder
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		b.Reset()
		pprof.Lookup("goroutine").WriteTo(&b, 1)
		if s := b.String(); !strings.Contains(s, "singleflight/fleet.") && !strings.Contains(s, "fleet/natskv.") && !strings.Contains(s, "jetstream.(*kvs)") {
			return 0
		}
		if time.Now().After(deadline) {
			fmt.Println("goroutines of the package are left:\n", b.String())
			return 1
		}
	}
}

// patience is for what will happen, on a machine that does other things too.
const patience = 30 * time.Second

// until waits for what other goroutines, processes or the server do.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// serve starts a server that stops with the test. Its port stays the same
// when it is started again from its options.
func serve(t testing.TB, opts *server.Options) *server.Server {
	t.Helper()
	opts.Host, opts.NoSigs, opts.NoLog = "127.0.0.1", true, true
	opts.JetStream = true
	if opts.StoreDir == "" {
		opts.StoreDir = t.TempDir()
	}
	if opts.Port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { stop(s) })
	if !s.ReadyForConnections(patience) {
		t.Fatal("the server does not start")
	}
	opts.Port = s.Addr().(*net.TCPAddr).Port
	return s
}

func stop(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// dial connects to a server until the test ends.
func dial(t testing.TB, url string, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	opts = append([]nats.Option{
		nats.MaxReconnects(-1),
		nats.ReconnectWait(50 * time.Millisecond),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // it prints them
	}, opts...)
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

const bucket = "flights"

func create(t testing.TB, js jetstream.JetStream, cfg jetstream.KeyValueConfig) {
	t.Helper()
	cfg.Bucket = bucket
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := natskv.CreateBucket(ctx, js, cfg); err != nil {
		t.Fatal(err)
	}
}

// open returns an Engine on the bucket until the test ends.
func open(t testing.TB, js jetstream.JetStream) *natskv.Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	e, err := natskv.Open(ctx, js, bucket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// streamInfo is the state of the bucket's stream.
func streamInfo(t testing.TB, js jetstream.JetStream) *jetstream.StreamInfo {
	t.Helper()
	s, err := js.Stream(t.Context(), "KV_"+bucket)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo()
}

// A line is a network between a client and a server, that can be cut and
// mended. What is sent meanwhile arrives afterwards.
type line struct {
	ln net.Listener
	to string
	wg sync.WaitGroup

	mu    sync.Mutex
	cond  *sync.Cond
	heard bool // the client hears the server
	said  bool // the server hears the client
	down  bool // there are no connections
	conns []net.Conn
	done  bool
}

func newLine(t testing.TB, to string) *line {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &line{ln: ln, to: strings.TrimPrefix(to, "nats://"), heard: true, said: true}
	l.cond = sync.NewCond(&l.mu)
	l.wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", l.to)
			if err != nil {
				client.Close()
				continue
			}
			l.mu.Lock()
			if l.down || l.done {
				client.Close()
				server.Close()
			}
			l.conns = append(l.conns, client, server)
			l.mu.Unlock()
			l.wg.Go(func() { l.carry(client, server, &l.said) })
			l.wg.Go(func() { l.carry(server, client, &l.heard) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		l.mu.Lock()
		l.done = true
		for _, c := range l.conns {
			c.Close()
		}
		l.mu.Unlock()
		l.cond.Broadcast()
		l.wg.Wait()
	})
	return l
}

func (l *line) url() string { return "nats://" + l.ln.Addr().String() }

func (l *line) carry(from, to net.Conn, open *bool) {
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		for !*open && !l.done {
			l.cond.Wait()
		}
		l.mu.Unlock()
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// drop closes all connections, and refuses new ones until the line is mended.
func (l *line) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = true
	for _, c := range l.conns {
		c.Close()
	}
	l.conns = nil
}

// set says whether the client hears the server, and the server the client.
func (l *line) set(heard, said bool) {
	l.mu.Lock()
	l.heard, l.said, l.down = heard, said, false
	l.mu.Unlock()
	l.cond.Broadcast()
}

func (l *line) cut()  { l.set(false, false) }
func (l *line) mend() { l.set(true, true) }
