// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/redis"
)

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

// A ledger counts loads outside the engine, and of all processes.
type ledger string

func newLedger(t testing.TB) ledger { return ledger(filepath.Join(t.TempDir(), "loads")) }

func (l ledger) add(line string) error {
	f, err := os.OpenFile(string(l), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close())
}

func (l ledger) lines() []string {
	b, _ := os.ReadFile(string(l))
	return strings.Fields(string(b))
}

// An answer is what a caller got.
type answer struct {
	v      string
	err    error
	shared bool
	panic  any
	exited bool
}

// A call is one in progress.
type call struct {
	answer chan answer
	cancel context.CancelFunc
}

// start calls DoContext on a goroutine of its own.
func start(t testing.TB, g *fleet.Group[string], key string, fn func(context.Context) (string, error)) *call {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c := &call{make(chan answer, 1), cancel}
	go func() {
		a := answer{exited: true}
		defer func() {
			if p := recover(); p != nil {
				a.panic, a.exited = p, false
			}
			c.answer <- a
		}()
		a.v, a.err, a.shared = g.DoContext(ctx, key, fn)
		a.exited = false
	}()
	return c
}

func (c *call) wait(t testing.TB) answer {
	t.Helper()
	select {
	case a := <-c.answer:
		return a
	case <-time.After(patience):
		t.Fatalf("no answer within %v", patience)
		panic("unreachable")
	}
}

func (c *call) want(t testing.TB, who, v string) {
	t.Helper()
	if a := c.wait(t); a.v != v || a.err != nil || a.panic != nil || a.exited {
		t.Errorf("%s got %+v (%v), want %q", who, a, a.err, v)
	}
}

// A loader is a fn that says when it runs, and goes on when told.
type loader struct {
	began chan context.Context
	end   chan func() (string, error)
}

func newLoader() *loader {
	return &loader{make(chan context.Context, 100), make(chan func() (string, error), 100)}
}

func (l *loader) fn(ctx context.Context) (string, error) {
	l.began <- ctx
	select {
	case end := <-l.end:
		return end()
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (l *loader) running(t testing.TB) context.Context {
	t.Helper()
	select {
	case ctx := <-l.began:
		return ctx
	case <-time.After(patience):
		t.Fatalf("no load within %v", patience)
		panic("unreachable")
	}
}

func (l *loader) give(v string) { l.end <- func() (string, error) { return v, nil } }

// idle fails the test if a load runs that should not.
func (l *loader) idle(t testing.TB) {
	t.Helper()
	if n := len(l.began); n != 0 {
		t.Errorf("%d more loads than wanted", n)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
