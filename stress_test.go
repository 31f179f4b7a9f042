// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/singleflight"
)

var stressTime = flag.Duration("stress", 400*time.Millisecond, "how long each stress test runs")

// A stressed value knows for which key it was loaded, and when a caller first
// had it.
type stressed struct {
	key int
	had atomic.Int64 // by the clock of the test; 0 until then
}

// A stress is a real-time run of 16 goroutines over a few keys.
type stress struct {
	g       group[int, *stressed]
	cache   nothing[int, *stressed]
	ctx     context.Context
	clock   atomic.Int64
	running [3]atomic.Int64 // executions by key
	overlap bool            // two may run at once, after Forget or when all callers have left
	fails   bool            // fn panics, exits or fails now and then
}

func (s *stress) load(t *testing.T, key int) (*stressed, error) {
	if n := s.running[key].Add(1); n > 1 && !s.overlap {
		t.Errorf("got %d executions for key %d at once, want 1", n, key)
	}
	defer s.running[key].Add(-1)
	switch rand.IntN(8) {
	case 0, 1, 2:
		runtime.Gosched()
	case 3:
		time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
	case 4:
		if s.fails {
			panic(key)
		}
	case 5:
		if s.fails {
			runtime.Goexit()
		}
	case 6:
		if s.fails {
			return &stressed{key: key}, errBroken
		}
	}
	return &stressed{key: key}, nil
}

// call makes one call and checks what it got.
func (s *stress) call(t *testing.T, key int, mayLeave bool, call func() (*stressed, error)) {
	began := s.clock.Add(1)
	v, err := call()
	if v == nil {
		if !mayLeave || err != context.Canceled {
			t.Errorf("call for key %d = nil, %v, want a value", key, err)
		}
		return
	}
	if err != nil && err != errBroken {
		t.Errorf("call for key %d: got error %v, want nil or %v", key, err, errBroken)
	}
	if v.key != key {
		t.Errorf("call for key %d got the value of key %d, want its own", key, v.key)
	}
	v.had.CompareAndSwap(0, s.clock.Add(1))
	if had := v.had.Load(); had < began {
		t.Errorf("a call that began at %d got a result that a caller had at %d, want a newer one", began, had)
	}
}

// The methods that a stress calls at random, by test.
var (
	calm    = []string{"Do", "DoContext(Background)", "DoContext", "DoChan", "Fill", "Fill(Background)"}
	wild    = append([]string{"DoContext, leaving", "Fill, leaving", "Forget"}, calm...)
	failing = []string{"Do", "DoContext(Background)", "DoContext", "Fill", "Fill(Background)"}
)

// visit makes a call by one of the methods, which may panic or exit, at random.
func (s *stress) visit(t *testing.T, methods []string) {
	key := rand.IntN(len(s.running))
	load := func() (*stressed, error) { return s.load(t, key) }
	method := methods[rand.IntN(len(methods))]
	if method == "Forget" {
		s.g.Forget(key)
		s.g.ForgetUnshared(rand.IntN(len(s.running)))
		return
	}
	mayLeave := strings.HasSuffix(method, "leaving")
	ctx := s.ctx
	if mayLeave {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(s.ctx)
		defer cancel()
		time.AfterFunc(time.Duration(rand.IntN(50))*time.Microsecond, cancel)
	}
	// slowly is a load that heeds its context, and often takes longer than
	// callers wait.
	slowly := func(ctx context.Context) (*stressed, error) {
		if rand.IntN(4) == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(time.Millisecond):
			}
		}
		return load()
	}
	s.call(t, key, mayLeave, func() (v *stressed, err error) {
		switch method {
		case "Do":
			v, err, _ = s.g.Do(key, load)
		case "DoContext(Background)":
			v, err, _ = s.g.DoContext(context.Background(), key, withCtx(load))
		case "DoContext":
			v, err, _ = s.g.DoContext(ctx, key, withCtx(load))
		case "DoChan":
			r := <-s.g.DoChan(key, load)
			v, err = r.Val, r.Err
		case "Fill":
			v, err, _ = s.g.Fill(ctx, s.cache, key, withCtx(load))
		case "Fill(Background)":
			v, err, _ = s.g.Fill(context.Background(), s.cache, key, withCtx(load))
		case "DoContext, leaving":
			v, err, _ = s.g.DoContext(ctx, key, slowly)
		case "Fill, leaving":
			v, err, _ = s.g.Fill(ctx, s.cache, key, slowly)
		}
		if err == context.Canceled && ctx.Err() == nil {
			t.Errorf("%s: got %v, want no error of another caller's context", method, err)
		}
		return v, err
	})
}

func (s *stress) run(t *testing.T, methods []string) {
	d := *stressTime
	if testing.Short() {
		d /= 10
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	s.ctx = context.WithValue(t.Context(), ctxKey{}, "stress") // never done while the test runs
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for ctx.Err() == nil {
				var once sync.WaitGroup
				once.Go(func() { // a new goroutine, since Goexit may end it
					defer func() {
						if p := recover(); p != nil {
							if _, ok := p.(*singleflight.PanicError); !ok || !s.fails {
								t.Errorf("got panic %v, want none, or a *PanicError where fn panics", p)
							}
						}
					}()
					for range 20 {
						s.visit(t, methods)
					}
				})
				once.Wait()
			}
		})
	}
	wg.Wait()
	waitIdle(t, s.g)
	if !goroutinesEnd(before) {
		t.Errorf("afterwards: got %d goroutines, want %d as before", runtime.NumGoroutine(), before)
	}
	if stats := s.g.Stats(); stats.Executions == 0 || stats.Joined == 0 {
		t.Errorf("Stats() = %+v, want some Executions and some Joined", stats)
	}
}

// If no caller leaves and no key is forgotten, no two executions of a key
// overlap.
func TestStressCalm(t *testing.T) {
	both(t, func(t *testing.T, g group[int, *stressed]) { (&stress{g: g}).run(t, calm) })
}

// Callers leave, and keys are forgotten.
func TestStressWild(t *testing.T) {
	both(t, func(t *testing.T, g group[int, *stressed]) { (&stress{g: g, overlap: true}).run(t, wild) })
}

// fn fails in each way that reaches all callers.
func TestStressFailing(t *testing.T) {
	both(t, func(t *testing.T, g group[int, *stressed]) { (&stress{g: g, fails: true}).run(t, failing) })
}
