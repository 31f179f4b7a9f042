// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"example.com/singleflight"
	"example.com/singleflight/fleet/internal/engine"
)

// A Group suppresses duplicate calls across processes: while one process
// that has a Group on the same engine loads a key, no other does, and all
// callers of that key in all processes get its result. That holds while the
// loading process keeps its lease; the package comment says what happens when
// it cannot.
//
// A Group is made by [New], is safe for concurrent use, and needs no closing.
// All processes that share an engine's bucket or prefix should use the same V,
// codec and options, and fn has to mean the same in each. Two Groups that keep
// different things under equal keys need two buckets or prefixes.
type Group[V any] struct {
	client *client
	options

	callers singleflight.Group[string, V] // the calls made here, by key
	loads   singleflight.Group[string, V] // the fns that run here, by token; a Group, so that a flight can leave a load

	received, takeovers, fallbacks, unsent atomic.Uint64

	releasing atomic.Int64 // how many goroutines of releaseLater there are
	warned    sync.Map     // the messages that were logged
}

// New returns a Group on an engine: one of package natskv, or of package
// redis. The engine may serve several Groups, but only one for each kind of
// value.
//
// The error says which options do not go together, or what the engine cannot
// do.
func New[V any](e engine.Engine, opts ...Option) (*Group[V], error) {
	if e == nil {
		return nil, errors.New("fleet: nil engine")
	}
	g := &Group[V]{options: defaults}
	for _, opt := range opts {
		if err := opt(&g.options); err != nil {
			return nil, err
		}
	}
	if err := g.check(e.Limits()); err != nil {
		return nil, fmt.Errorf("fleet: %v: %w", e, err)
	}
	g.client = newClient(e, g.timeout, g.lease/2)
	return g, nil
}

// DoContext is [singleflight.Group.DoContext] for all processes together: it
// calls fn and returns its results, or, if a load for key is under way here or
// in another process, waits for that one.
//
// Each caller waits on its own ctx. fn runs in the process that claimed the
// key, on a goroutine of its own (or, where the ctx of the first caller can
// never be done, perhaps on that caller's), with a context that is canceled
// when the last caller in that process has left; then another process that
// waits takes over. It is also canceled if the process has lost its lease to
// another: the callers then get the result of that other load.
//
// Shared reports whether the results went to more than one caller in this
// process. A value from another process is a copy of its own.
//
// An error of fn goes to the callers of its own process as it is, and to the
// others as a [*RemoteError] with its text. So does a panic, and a Goexit,
// which are raised as in a singleflight.Group where fn ran, and only there,
// when the others have been told.
//
// If the engine does not answer, every process loads for itself, once for all
// its callers; with [RequireEngine], they get [ErrUnavailable] instead.
//
// It panics if ctx is nil.
func (g *Group[V]) DoContext(ctx context.Context, key string, fn func(context.Context) (V, error)) (v V, err error, shared bool) {
	defer unwrap()
	return g.callers.DoContext(ctx, key, func(ctx context.Context) (V, error) {
		f := newFlight(g, ctx, key, fn)
		defer f.view.stopWatching()
		return f.acquire()
	})
}

// unwrap makes of the panic of two Groups, one in the other, that of one.
func unwrap() {
	switch p := recover().(type) {
	case nil: // or Goexit
	case *singleflight.PanicError:
		if load, ok := p.Value.(*singleflight.PanicError); ok {
			p = load
		}
		panic(p)
	default:
		panic(p)
	}
}

// Forget makes later calls for key start a load of their own, even while one
// is under way. That one goes on: its callers, in every process, still get
// its result, and it does not touch its successor's.
//
// When Forget has returned nil, calls in this process start anew, and so do
// those in another as soon as the news has reached it, which takes as long as
// a message as a rule; see the package comment. If the engine does not answer,
// Forget returns [ErrUnavailable], and perhaps only this process has forgotten.
func (g *Group[V]) Forget(ctx context.Context, key string) error {
	// Not before: a call in between would join the old load in the engine.
	defer g.callers.Forget(key)
	err := g.forget(ctx, newView(g.client, key))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// A RemoteError is the failure of a load in another process: an error that fn
// returned there, or a panic, or a Goexit. Only its text has travelled, so
// errors.Is does not find what it was: let fn return as part of the value what
// callers have to tell apart, such as “not found”.
type RemoteError struct {
	Message string // the text of the error; "panic: " and the value; or that of singleflight.ErrGoexit
}

func (e *RemoteError) Error() string {
	return "loading in another process: " + e.Message
}

// Stats is a snapshot of what a Group has done in this process.
type Stats struct {
	Callers singleflight.Stats // of the calls here; a flight of theirs is answered by this process or by another

	Loads     uint64 // times that fn was started here
	Running   int    // fns that have not ended here
	Received  uint64 // results and failures that came from another process
	Takeovers uint64 // loads begun here after waiting for one elsewhere that died, froze or was given up
	Fallbacks uint64 // loads begun here without the engine's leave, since it did not answer
	Unsent    uint64 // loads by the engine's leave whose result is not known to have reached it: too large, not to be encoded, or the engine gone
}

// Stats returns the figures of this process, each as of its own instant.
func (g *Group[V]) Stats() Stats {
	loads := g.loads.Stats()
	return Stats{
		Callers:   g.callers.Stats(),
		Loads:     loads.Executions,
		Running:   loads.Running,
		Received:  g.received.Load(),
		Takeovers: g.takeovers.Load(),
		Fallbacks: g.fallbacks.Load(),
		Unsent:    g.unsent.Load(),
	}
}

// warn logs a message once.
func (g *Group[V]) warn(msg string, err error) {
	if _, logged := g.warned.LoadOrStore(msg, true); !logged {
		slog.Warn("fleet: "+msg, "engine", g.client.engine.String(), "error", err)
	}
}
