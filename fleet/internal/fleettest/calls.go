// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package fleettest holds what the tests of package fleet and of its engines
// share: calls and loads under a test's control, and the tests and benchmarks
// with several processes, which every engine has to pass.
package fleettest

import (
	"context"
	"errors"
	"testing"
	"time"

	"example.com/singleflight"
	"example.com/singleflight/fleet"
)

// Patience is how long tests wait for what must happen, on a busy machine.
const Patience = time.Minute

// Until waits for what other goroutines, processes or a server do.
func Until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", Patience, what)
		}
	}
}

// Slow skips, with -short, a test that needs processes or a cluster.
func Slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short")
	}
}

// An Answer is what a call got.
type Answer struct {
	V      string
	Err    error
	Shared bool
	Panic  any
	Exited bool // by Goexit
}

// A Call is one in progress.
type Call struct {
	Answer chan Answer
	Cancel context.CancelFunc // of its context
}

// Start calls DoContext on a goroutine of its own.
func Start(t testing.TB, g *fleet.Group[string], key string, fn func(context.Context) (string, error)) *Call {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c := &Call{make(chan Answer, 1), cancel}
	go func() {
		a := Answer{Exited: true}
		defer func() {
			if p := recover(); p != nil {
				a.Panic, a.Exited = p, false
			}
			c.Answer <- a
		}()
		a.V, a.Err, a.Shared = g.DoContext(ctx, key, fn)
		a.Exited = false
	}()
	return c
}

// Wait returns what the call got.
func (c *Call) Wait(t testing.TB) Answer {
	t.Helper()
	select {
	case a := <-c.Answer:
		return a
	case <-time.After(Patience):
		t.Fatalf("a call got nothing within %v", Patience)
		panic("unreachable")
	}
}

// Want checks that the call got v.
func (c *Call) Want(t testing.TB, name, v string) {
	t.Helper()
	if a := c.Wait(t); a.V != v || a.Err != nil || a.Panic != nil || a.Exited {
		t.Errorf("%s got %+v, want %q", name, a, v)
	}
}

// WantErr checks that the call got an error.
func (c *Call) WantErr(t testing.TB, name string, want error) {
	t.Helper()
	if a := c.Wait(t); !errors.Is(a.Err, want) || a.V != "" || a.Panic != nil || a.Exited {
		t.Errorf("%s got %+v, want %v", name, a, want)
	}
}

// A Loader has an Fn under the test's control, which may run more than once.
type Loader struct {
	began chan context.Context
	end   chan func() (string, error)
}

func NewLoader() *Loader {
	return &Loader{make(chan context.Context, 100), make(chan func() (string, error), 100)}
}

// Fn waits until it is told how to end, or until ctx is done.
func (l *Loader) Fn(ctx context.Context) (string, error) {
	l.began <- ctx
	select {
	case end := <-l.end:
		return end()
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Running waits until Fn runs, and returns its context.
func (l *Loader) Running(t testing.TB) context.Context {
	t.Helper()
	select {
	case ctx := <-l.began:
		return ctx
	case <-time.After(Patience):
		t.Fatalf("no load within %v", Patience)
		panic("unreachable")
	}
}

// Give ends one Fn with a value.
func (l *Loader) Give(v string) { l.End(func() (string, error) { return v, nil }) }

// End ends one Fn as end does.
func (l *Loader) End(end func() (string, error)) { l.end <- end }

// Idle checks that Fn has not begun without a call of Running.
func (l *Loader) Idle(t testing.TB) {
	t.Helper()
	if n := len(l.began); n != 0 {
		t.Errorf("%d more loads than wanted", n)
	}
}

// Begin starts a call that loads key, and returns when its fn runs.
func Begin(t testing.TB, g *fleet.Group[string], key string) (*Loader, *Call, context.Context) {
	t.Helper()
	l := NewLoader()
	c := Start(t, g, key, l.Fn)
	return l, c, l.Running(t)
}

// Never is the fn of a call that should get another's result.
func Never(context.Context) (string, error) { return "", errors.New("loaded what another was loading") }

// Returns returns an fn that returns v.
func Returns(v string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return v, nil }
}

// WantStats checks the Stats of a Group, but for those of its callers.
func WantStats(t testing.TB, name string, g *fleet.Group[string], want fleet.Stats) {
	t.Helper()
	got := g.Stats()
	got.Callers = singleflight.Stats{}
	if got != want {
		t.Errorf("%s: stats %+v, want %+v", name, got, want)
	}
}
