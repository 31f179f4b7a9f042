// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"example.com/singleflight/fleet/internal/engine"
)

// ErrUnavailable is returned by [Group.Forget], and by DoContext of a Group with
// [RequireEngine], when the engine does not answer.
var ErrUnavailable = errors.New("fleet: the engine does not answer")

var errDown = errors.New("the connection is down")

// A client makes requests of an engine, and remembers whether it answers.
type client struct {
	engine    engine.Engine
	timeout   time.Duration // of a request
	pause     time.Duration // how long an engine that did not answer is not asked again
	errSilent error

	mu      sync.Mutex
	heard   time.Time // when the engine last answered
	silent  time.Time // until then it is not asked; zero while it answers
	probing bool      // a request is testing whether it answers again
}

func newClient(e engine.Engine, timeout, pause time.Duration) *client {
	return &client{
		engine:    e,
		timeout:   timeout,
		pause:     pause,
		errSilent: fmt.Errorf("no answer within %v", timeout),
	}
}

// request calls do with a context that ends when the time for a request is
// up, or as soon as the connection is known to be down.
func (c *client) request(ctx context.Context, do func(context.Context) error) error {
	down := c.engine.Down()
	select {
	case <-down:
		c.note(time.Now(), false, false)
		return fmt.Errorf("%w: %w", engine.ErrUnsent, errDown)
	default:
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, c.timeout, c.errSilent)
	defer stop()
	go func() {
		select {
		case <-down:
			cancel(errDown)
		case <-ctx.Done():
		}
	}()
	begun := time.Now()
	err := do(ctx)
	var answered, silent bool
	switch {
	case err == nil, errors.Is(err, engine.ErrTaken):
		answered = true
	case neverSent(err), errors.Is(err, engine.ErrTooLarge):
		// Neither: it may not have been asked.
	case ctx.Err() == nil:
		silent = true // it answers, but cannot serve
	default:
		err = context.Cause(ctx)
		silent = err == c.errSilent
	}
	c.note(begun, answered, silent)
	return err
}

// neverSent reports whether a request that failed with err did nothing, and
// will do nothing.
func neverSent(err error) bool {
	return errors.Is(err, engine.ErrUnsent) || errors.Is(err, engine.ErrClosed)
}

// note remembers whether a request was answered. One that was not does not
// count if another was answered after it began.
func (c *client) note(begun time.Time, answered, silent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probing = false
	switch {
	case answered:
		c.heard, c.silent = time.Now(), time.Time{}
	case silent && !c.heard.After(begun):
		c.silent = time.Now().Add(c.pause)
	}
}

// available returns an error if the engine did not answer lately. After a pause
// it lets one caller make a request. So a connection that is silent, but not
// known to be down, costs only that caller the timeout.
func (c *client) available() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent.IsZero() || time.Since(c.silent) > c.pause { // long ago
		return nil
	}
	if c.probing || time.Now().Before(c.silent) {
		return c.errSilent
	}
	c.probing = true
	return nil
}
