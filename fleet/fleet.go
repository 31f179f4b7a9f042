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
// loads a key, no other process with a Group on the same engine does, and the
// callers in all of them get its result. That holds while the loading process
// keeps its lease; the package comment says what happens when it does not.
//
// A Group is made by [New], is safe for concurrent use, and needs no closing.
// All processes that share an engine's bucket or prefix should use the same V,
// codec and options, and load the same thing for a key. Groups in which equal
// keys mean different things need a bucket or prefix each.
type Group[V any] struct {
	client *client
	options

	callers singleflight.Group[string, V] // the calls made here, by key
	loads   singleflight.Group[string, V] // the fns that run here, by token; a Group, since a flight can stop waiting for its fn

	received, takeovers, fallbacks, unsent atomic.Uint64

	releasing atomic.Int64 // how many goroutines of releaseLater there are
	warned    sync.Map     // the messages that were logged
}

// New returns a Group on an engine, which natskv.Open or redis.Open returns.
// Several Groups may share the engine if equal keys mean the same in all of
// them.
//
// The error says which options do not go together, or not with the engine.
func New[V any](e engine.Engine, opts ...Option) (*Group[V], error) {
	if e == nil {
		return nil, errors.New("fleet: nil engine")
	}
	g := &Group[V]{options: defaults}
	for _, opt := range opts {
		err := opt(&g.options)
		if err != nil {
			return nil, err
		}
	}
	err := g.check(e.Limits())
	if err != nil {
		return nil, fmt.Errorf("fleet: %v: %w", e, err)
	}
	g.client = newClient(e, g.timeout, g.lease/2)
	return g, nil
}

// DoContext is [singleflight.Group.DoContext] for all processes together: it
// calls fn and returns its results, or, if a load for key is under way here or
// in another process, waits for that load.
//
// Each caller stops waiting when its ctx is done. fn runs in the process that
// claimed the key. Its context is canceled when the last caller in that process
// has left, and then another process that waits takes over. It is also canceled
// if the process has lost its lease to another; the callers then get the result
// of that other load. fn runs on a goroutine of its own; only if the first
// caller's ctx can never be done, it may run on that caller's.
//
// Shared reports whether the results went to more than one caller in this
// process. Each process decodes its own copy of a value from another process.
//
// The callers in the process where fn ran get its error as it is; those in other
// processes get a [*RemoteError] with its text. A panic or Goexit of fn is
// raised only in the process where fn ran, as in a singleflight.Group, after the
// other processes have been sent a [*RemoteError].
//
// If the engine does not answer, every process loads for itself, once for all
// its callers; with [RequireEngine], the callers get [ErrUnavailable] instead.
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

// unwrap is deferred. A panic of fn has gone through two Groups, loads and
// callers; unwrap passes it on as if it had gone through one.
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

// Forget makes later calls for key start a new load, even while one is under
// way. The load under way continues: its callers, in every process, still get
// its result, and it does not affect the new load.
//
// When Forget has returned nil, calls in this process no longer join the old
// load, and neither do calls in another process once a message has reached it;
// see the package comment. If the engine does not answer, Forget returns
// [ErrUnavailable]: this process has forgotten the load, but others may not have.
func (g *Group[V]) Forget(ctx context.Context, key string) error {
	// Only after g.forget: a call in between would join the old load through the
	// engine.
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
// returned there, a panic, or a Goexit. Only its text is sent, so errors.Is does
// not find the original error. If callers have to recognize a result such as
// “not found”, let fn return it as part of the value.
type RemoteError struct {
	Message string // the error's text, or "panic: " and the panic's value, or the text of singleflight.ErrGoexit
}

func (e *RemoteError) Error() string {
	return "loading in another process: " + e.Message
}

// Stats is a snapshot of what a Group has done in this process.
type Stats struct {
	Callers singleflight.Stats // of the calls here; an execution loads here, or waits for a load in another process

	Loads     uint64 // loads started here
	Running   int    // loads here whose fn has not returned
	Received  uint64 // results and failures that came from another process
	Takeovers uint64 // loads started here in place of one elsewhere that died, froze or was given up
	Fallbacks uint64 // loads started here without the engine, since it did not answer
	Unsent    uint64 // loads that had claimed their key, but whose result could not be sent: too large, not encodable, or not acknowledged by the engine
}

// Stats returns the figures of this process. They are not read at one instant.
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
	_, logged := g.warned.LoadOrStore(msg, true)
	if !logged {
		slog.Warn("fleet: "+msg, "engine", g.client.engine.String(), "error", err)
	}
}
