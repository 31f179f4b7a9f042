// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package enginetest

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Failures runs the suite in bubbles, and returns the names of the tests that
// fail.
func Failures(t *testing.T, open func(testing.TB) Store) (names []string) {
	for _, tests := range [][]test{tests, faultTests} {
		for _, test := range tests {
			synctest.Test(t, func(t *testing.T) {
				r := &recorder{TB: t}
				done := make(chan struct{})
				go func() {
					defer close(done)
					test.on(r, open(r))
				}()
				<-done
				if r.failed.Load() {
					names = append(names, test.name)
				}
			})
		}
	}
	return names
}

// A recorder is a test that may fail.
type recorder struct {
	testing.TB
	failed atomic.Bool
}

func (r *recorder) Error(...any)          { r.failed.Store(true) }
func (r *recorder) Errorf(string, ...any) { r.failed.Store(true) }
func (r *recorder) Skip(...any)           { runtime.Goexit() }

func (r *recorder) Fatal(...any) {
	r.failed.Store(true)
	runtime.Goexit()
}

func (r *recorder) Fatalf(string, ...any) {
	r.failed.Store(true)
	runtime.Goexit()
}
