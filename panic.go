// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight

import (
	"errors"
	"fmt"
	"runtime"
)

// ErrGoexit is the error that a DoChan channel receives if fn called
// [runtime.Goexit], as t.FailNow does. Callers of the other methods never get
// it: their goroutines exit.
var ErrGoexit = errors.New("singleflight: fn called runtime.Goexit")

// A PanicError is the value that callers panic with if fn panicked. It is
// always a *PanicError, and the same one for all callers.
//
// A *PanicError that fn returns is an ordinary error.
type PanicError struct {
	Value any    // what fn panicked with; nil for panic(nil) under GODEBUG=panicnil=1
	Stack []byte // of the goroutine that ran fn, as debug.Stack formats it
}

// Error returns the value and the stack, so that a crash shows where fn
// panicked. Do not send it to the clients of a service.
func (p *PanicError) Error() string {
	return fmt.Sprintf("%v\n\n%s", p.Value, p.Stack)
}

// Unwrap returns Value if it is an error, and nil otherwise. So errors.Is(p,
// http.ErrAbortHandler) is true if fn panicked with that error. Package
// net/http itself compares with ==: to abort a handler from inside fn, recover
// in the handler and panic again with Value.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// An ending is how fn ended. It is tempting to derive this from the error, but
// then a *PanicError that fn returned would make every caller panic.
type ending uint8

const (
	exited   ending = iota // runtime.Goexit, or it has not ended yet
	panicked               // with outcome.panic
	returned
)

// An outcome is how fn ended, and what its callers get.
type outcome[V any] struct {
	v      V
	err    error
	how    ending
	shared bool
	panic  *PanicError
}

// deliver returns fn's results to a caller, or ends the caller as fn ended.
func (o *outcome[V]) deliver() (v V, err error, shared bool) {
	switch o.how {
	case panicked:
		panic(o.panic)
	case exited:
		runtime.Goexit()
	}
	return o.v, o.err, o.shared
}

// result is deliver for a channel. It is not called if fn panicked, because
// the program has crashed by then.
func (o *outcome[V]) result() Result[V] {
	if o.how == exited {
		return Result[V]{Err: ErrGoexit, Shared: o.shared}
	}
	return Result[V]{o.v, o.err, o.shared}
}

// crash ends the program if fn panicked and the panic cannot reach all callers.
// It panics on another goroutine, where nobody can recover, and does not
// return.
func (o *outcome[V]) crash(unreachable bool) {
	if o.how == panicked && unreachable {
		go panic(o.panic)
		select {} // so that a trace of all goroutines shows who ran fn
	}
}
