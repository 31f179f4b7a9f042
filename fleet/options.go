// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"example.com/singleflight/fleet/internal/engine"
)

// An Option configures a Group; see [New].
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

// check reports which options do not go together, or not with the engine.
func (o *options) check(limits engine.Limits) error {
	switch unit := limits.Granularity; {
	case o.lease%unit != 0:
		return fmt.Errorf("Lease(%v): want a multiple of %v", o.lease, unit)
	case o.linger%unit != 0:
		return fmt.Errorf("Linger(%v): want a multiple of %v", o.linger, unit)
	case o.timeout > o.lease/4:
		return fmt.Errorf("EngineTimeout(%v) with Lease(%v): want at most a quarter of the lease, so that a renewal can be tried again in time", o.timeout, o.lease)
	case limits.MaxTTL != 0 && limits.MaxTTL < max(o.lease, o.linger):
		return fmt.Errorf("it keeps nothing for longer than %v: too short for Lease(%v) and Linger(%v)", limits.MaxTTL, o.lease, o.linger)
	}
	return nil
}

// Lease sets how long a silent load keeps its key: when the process that loads
// dies, another takes over within the lease plus one second. A load that runs
// renews its lease every half lease, however long it takes. The lease has to be
// longer than a process is ever stopped (by the garbage collector, the
// scheduler, or the migration of a virtual machine), at least a second, and a
// multiple of the engine's unit of time: a second for NATS, a millisecond for
// Redis. The default is 10 s.
func Lease(d time.Duration) Option {
	return func(o *options) error {
		o.lease = d
		return atLeastASecond("Lease", d)
	}
}

// Linger sets how long the engine keeps a result, so that a slow process that
// waits for it can still read it. This is no cache: a call that comes after the
// load has ended starts a new load. Linger has to be at least a second, and a
// multiple of the engine's unit of time, as for [Lease]. The default is 1 s.
func Linger(d time.Duration) Option {
	return func(o *options) error {
		o.linger = d
		return atLeastASecond("Linger", d)
	}
}

func atLeastASecond(name string, d time.Duration) error {
	if d < time.Second {
		return fmt.Errorf("fleet: %s(%v): want at least a second", name, d)
	}
	return nil
}

// EngineTimeout sets how long the engine may take to answer a request before
// it counts as silent. The default is 2 s; it must not be more than a quarter
// of the [Lease]. If the connection is known to be down, no call waits that
// long.
//
// A call whose request is not answered loads without the engine. The calls of
// the next half lease do so at once; then one of them asks again, or, after a
// whole lease without calls, all that come. A call that waits for another
// process asks when a renewal is overdue, after three quarters of the lease. A
// call whose own load has ended waits for up to three requests in a row: a
// renewal under way, the result, and a read of whether the result has arrived.
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

// Encoding sets the codec for values that are sent to other processes. The
// default is encoding/json.
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

// RequireEngine makes calls fail with [ErrUnavailable] if the engine does not
// answer, so that no load begins before the engine has accepted its claim. Calls
// then fail at once for half a lease, before one of them asks again. A load that
// has begun gives its result to the callers in its own process even if the
// engine no longer answers.
//
// If a value could not be sent, the processes that waited for it load one after
// the other. Without RequireEngine they load at once, each for its own callers.
func RequireEngine() Option {
	return func(o *options) error {
		o.required = true
		return nil
	}
}
