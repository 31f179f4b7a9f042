// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/internal/fleettest"
	"example.com/singleflight/fleet/natskv"
)

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
	if !s.ReadyForConnections(fleettest.Patience) {
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
	ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
	defer cancel()
	if err := natskv.CreateBucket(ctx, js, cfg); err != nil {
		t.Fatal(err)
	}
}

// open returns an Engine on the bucket until the test ends.
func open(t testing.TB, js jetstream.JetStream) *natskv.Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
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

// newGroup returns a Group on the bucket.
func newGroup[V any](t testing.TB, js jetstream.JetStream, opts ...fleet.Option) *fleet.Group[V] {
	t.Helper()
	g, err := fleet.New[V](open(t, js), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// A world is an engine, and Groups with a connection of their own to it, as
// processes have.
type world struct {
	t    testing.TB
	srv  *server.Server
	opts *server.Options
	js   jetstream.JetStream
	e    []*natskv.Engine
	g    []*fleet.Group[string]
}

func newWorld(t testing.TB, groups int, opts ...fleet.Option) *world {
	t.Helper()
	return newWorldOn(t, jetstream.KeyValueConfig{}, groups, opts...)
}

func newWorldOn(t testing.TB, cfg jetstream.KeyValueConfig, groups int, opts ...fleet.Option) *world {
	t.Helper()
	return newWorldWith(t, new(server.Options), cfg, groups, opts...)
}

func newWorldWith(t testing.TB, srv *server.Options, cfg jetstream.KeyValueConfig, groups int, opts ...fleet.Option) *world {
	t.Helper()
	w := &world{t: t, opts: srv}
	w.srv = serve(t, w.opts)
	w.js = dial(t, w.srv.ClientURL())
	create(t, w.js, cfg)
	for range groups {
		w.join(opts...)
	}
	return w
}

func (w *world) info() *jetstream.StreamInfo {
	w.t.Helper()
	return streamInfo(w.t, w.js)
}

// join adds a Group.
func (w *world) join(opts ...fleet.Option) {
	w.t.Helper()
	e := open(w.t, dial(w.t, w.srv.ClientURL()))
	g, err := fleet.New[string](e, opts...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.e, w.g = append(w.e, e), append(w.g, g)
}

// watched waits until n flights wait or keep a lease: each has a watch.
func (w *world) watched(n int) {
	w.t.Helper()
	fleettest.Until(w.t, fmt.Sprintf("%d watches", n), func() bool { return w.info().State.Consumers == n })
}

// empty waits until nothing is left in the bucket.
func (w *world) empty() {
	w.t.Helper()
	fleettest.Until(w.t, "an empty bucket", func() bool { return w.info().State.Msgs == 0 })
}

// watches is how many there are of a key, or -1 if that is unknown. Those of
// earlier keys may be late, or outlive their flight where a node was lost.
func watches(js jetstream.JetStream, key string) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	s, err := js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return -1
	}
	n := 0
	list := s.ListConsumers(ctx)
	for i := range list.Info() {
		if i.Config.FilterSubject == "$KV."+bucket+"."+key+".*" {
			n++
		}
	}
	if list.Err() != nil {
		return -1
	}
	return n
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
