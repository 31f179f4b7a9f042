// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/enginetest"
	"example.com/singleflight/fleet/internal/fleettest"
)

// The defaults of fleet.Lease and fleet.EngineTimeout.
const (
	lease   = 10 * time.Second
	timeout = 2 * time.Second

	news = 10 * time.Millisecond // longer than a message takes
)

// The lines between a process and the engine.
var (
	good   = enginetest.Line{}
	cut    = enginetest.Line{Cut: true}
	silent = enginetest.Line{Requests: enginetest.Way{Held: true}, Answers: enginetest.Way{Held: true}, News: enginetest.Way{Held: true}}
	deaf   = enginetest.Line{News: enginetest.Way{Lost: true}}
)

// broken has the lines over which no answer arrives.
var broken = map[string]enginetest.Line{"cut": cut, "silent": silent}

// A node is a process: a Group with a connection of its own.
type node struct {
	*fleet.Group[string]
	line  *enginetest.Conn
	asked *counted
}

// A counted engine counts its requests, and calls before at each write, if
// that is set.
type counted struct {
	engine.Engine
	writes, reads, watches atomic.Int64

	before func(engine.Name)
}

func (c *counted) Write(ctx context.Context, name engine.Name, put engine.Put) (uint64, error) {
	c.writes.Add(1)
	if c.before != nil {
		c.before(name)
	}
	return c.Engine.Write(ctx, name, put)
}

func (c *counted) Latest(ctx context.Context, name engine.Name) (engine.Entry, error) {
	c.reads.Add(1)
	return c.Engine.Latest(ctx, name)
}

func (c *counted) Watch(ctx context.Context, key string) <-chan engine.Entry {
	c.watches.Add(1)
	return c.Engine.Watch(ctx, key)
}

func newNode(t *testing.T, store *enginetest.Fake, opts ...fleet.Option) node {
	t.Helper()
	n := node{line: store.Connect()}
	n.asked = &counted{Engine: n.line}
	g, err := fleet.New[string](n.asked, opts...)
	if err != nil {
		t.Fatal(err)
	}
	n.Group = g
	return n
}

// inFleet runs f in a bubble, with as many nodes, for each kind of engine.
func inFleet(t *testing.T, nodes int, f func(t *testing.T, store *enginetest.Fake, n []node), opts ...fleet.Option) {
	t.Helper()
	for _, gone := range []bool{false, true} {
		t.Run(fmt.Sprintf("gone=%v", gone), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				unit := time.Second // as NATS
				if gone {
					unit = time.Millisecond // as Redis
				}
				store := enginetest.NewFake(enginetest.FakeOptions{Gone: gone, Granularity: unit, Late: late, MaxData: maxData})
				defer store.Close()
				var n []node
				for range nodes {
					n = append(n, newNode(t, store, opts...))
				}
				f(t, store, n)
				for _, n := range n {
					n.line.SetLine(good)
				}
				time.Sleep(2 * time.Hour)
				if r, w := store.Records(), store.Watches(); r != 0 || w != 0 {
					t.Errorf("%d records and %d watches are left, want none", r, w)
				}
			})
		})
	}
}

const (
	maxData = 64 << 10

	// How much longer than its time to live the engine keeps a record: nearly a
	// second, which is allowed.
	late = 900 * time.Millisecond
)

// settle lets messages arrive that are on their way.
func settle() {
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
}

func wantWatches(t *testing.T, store *enginetest.Fake, want int) {
	t.Helper()
	settle()
	if got := store.Watches(); got != want {
		t.Fatalf("%d watches, want %d", got, want)
	}
}

// start calls DoContext in the background.
func (n node) start(t *testing.T, key string, fn func(context.Context) (string, error)) *fleettest.Call {
	t.Helper()
	return fleettest.Start(t, n.Group, key, fn)
}

// A load is a call whose fn is under the test's control, if it is called.
type load struct {
	*fleettest.Call
	running chan struct{} // closed when fn runs
	ctx     context.Context
	end     chan func() (string, error)
}

// ask starts a call whose fn is under the test's control.
func (n node) ask(t *testing.T, key string) *load {
	t.Helper()
	l := &load{running: make(chan struct{}), end: make(chan func() (string, error), 1)}
	l.Call = n.start(t, key, func(ctx context.Context) (string, error) {
		l.ctx = ctx
		close(l.running)
		select {
		case end := <-l.end:
			return end()
		case <-ctx.Done():
			return "", ctx.Err()
		}
	})
	return l
}

// begin is ask, and returns when fn runs.
func (n node) begin(t *testing.T, key string) *load {
	t.Helper()
	l := n.ask(t, key)
	select {
	case <-l.running:
	case r := <-l.Answer:
		t.Fatalf("begin(%q): got %+v, want a load", key, r)
	case <-time.After(fleettest.Patience):
		t.Fatalf("begin(%q): no load within %v", key, fleettest.Patience)
	}
	return l
}

// awaitFn returns when fn runs.
func (l *load) awaitFn(t *testing.T) {
	t.Helper()
	select {
	case <-l.running:
	case <-time.After(fleettest.Patience):
		t.Fatalf("no load within %v", fleettest.Patience)
	}
}

// runs reports whether fn has been called.
func (l *load) runs() bool {
	select {
	case <-l.running:
		return true
	default:
		return false
	}
}

// give ends the load.
func (l *load) give(v string) { l.end <- func() (string, error) { return v, nil } }

// call makes a call whose own fn returns v, and returns what it got.
func (n node) call(t *testing.T, key, v string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), fleettest.Patience)
	defer cancel()
	got, err, _ := n.DoContext(ctx, key, fleettest.Returns(v))
	if err != nil {
		t.Errorf("DoContext(%q): %v", key, err)
	}
	return got
}

func (n node) forget(t *testing.T, key string) {
	t.Helper()
	if err := n.Forget(t.Context(), key); err != nil {
		t.Fatalf("Forget(%q): %v", key, err)
	}
}

func wantGot(t *testing.T, who, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s got %q, want %q", who, got, want)
	}
}

// wantTook checks the time that has passed, in a bubble, since began. Messages
// take some milliseconds.
func wantTook(t *testing.T, what string, began time.Time, want time.Duration) {
	t.Helper()
	if d := time.Since(began); d < want-50*time.Millisecond || d > want+50*time.Millisecond {
		t.Errorf("%s after %v, want %v", what, d, want)
	}
}

func wantStats(t *testing.T, name string, n node, want fleet.Stats) {
	t.Helper()
	fleettest.WantStats(t, name, n.Group, want)
}

const (
	unencodable = "unencodable"
	explosive   = "explosive"
)

// A codec does not encode two values.
type codec struct{}

func (codec) Marshal(v any) ([]byte, error) {
	switch v {
	case unencodable:
		return nil, errors.New("unencodable")
	case explosive:
		panic("boom")
	}
	return []byte(v.(string)), nil
}

func (codec) Unmarshal(data []byte, v any) error {
	*v.(*string) = string(data)
	return nil
}

// captureLog has the default logger write into the buffer until the test ends.
func captureLog(t *testing.T) *fleettest.Buffer {
	b := new(fleettest.Buffer)
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(b, nil)))
	t.Cleanup(func() { slog.SetDefault(old) })
	return b
}
