// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// An Option is for [New].
type Option func(*options) error

type options struct {
	lease, linger, timeout time.Duration

	codec    Codec
	required bool
}

var defaults = options{
	lease:   10 * time.Second,
	linger:  time.Second,
	timeout: 2 * time.Second,
	codec:   jsonCodec{},
}

// Lease is for how long the others believe in a load of which they hear
// nothing: when its process dies, one of them takes over within the lease and
// a second. The process renews it at half that time, for as long as fn runs.
// It has to be whole seconds, since the engine counts in them, and longer
// than a process is ever stopped (by the garbage collector, the scheduler, a
// virtual machine that moves). The default is 10 s.
func Lease(d time.Duration) Option {
	return func(o *options) error {
		o.lease = d
		return whole("Lease", d)
	}
}

// Linger is for how long the engine keeps a result, so that a slow process that
// waits for it can still read it. It is no cache: a call that comes after
// the load has ended loads anew. It has to be whole seconds. The default is
// 1 s.
func Linger(d time.Duration) Option {
	return func(o *options) error {
		o.linger = d
		return whole("Linger", d)
	}
}

// whole refuses what the engine would cut.
func whole(name string, d time.Duration) error {
	if d < time.Second || d%time.Second != 0 {
		return fmt.Errorf("fleet: %s(%v): want whole seconds, at least one", name, d)
	}
	return nil
}

// EngineTimeout is for how long the engine may take to answer a request before
// it counts as gone. The default is 2 s; it should be less than half the
// Lease. Where the connection itself reports that it is down, nobody waits for
// that.
//
// If an engine falls silent, a call waits for it once before it loads; one that
// waits for another process, when the renewal of that one's lease is overdue;
// and one whose load has ended, for up to three requests in a row: a renewal
// under way, the result, and the reading back whether it has got through.
func EngineTimeout(d time.Duration) Option {
	return func(o *options) error {
		o.timeout = d
		if d <= 0 {
			return fmt.Errorf("fleet: EngineTimeout(%v): want more than 0", d)
		}
		return nil
	}
}

// A Codec turns values into bytes for the other processes, and back.
type Codec interface {
	Marshal(v any) ([]byte, error)
	Unmarshal(data []byte, v any) error // v is a pointer
}

// Encoding is how values travel. The default is encoding/json.
func Encoding(c Codec) Option {
	return func(o *options) error {
		o.codec = c
		if c == nil {
			return errors.New("fleet: Encoding(nil)")
		}
		return nil
	}
}

type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// RequireEngine makes it an error, [ErrUnavailable], if the engine does not
// answer: nobody loads without its leave. A load that had it still gives its
// own callers what it found.
func RequireEngine() Option {
	return func(o *options) error {
		o.required = true
		return nil
	}
}
