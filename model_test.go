// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"

	"example.com/singleflight"
)

// A model is what the documentation says of a Group, with no goroutine, no
// lock and no waiting: a list of flights, a list of callers, and what each
// step does to them.
type model struct {
	flights []modelFlight
	callers []modelCaller
	stats   singleflight.Stats
}

type modelFlight struct {
	key                 int
	joinable, running   bool
	cancelled, channels bool // fn's context is done; DoChan waits for it
	waiting             int  // callers who have not left
}

type modelCaller struct {
	kind   kind
	flight int
	state  string // waits, left, returned, failed, panicked or exited
	shared bool
}

type kind int

const (
	do kind = iota
	doChan
	doContext
	doContextBackground
	kinds
)

// joinable returns the index of the flight that a call for key joins, or -1.
func (m *model) joinable(key int) int {
	return slices.IndexFunc(m.flights, func(f modelFlight) bool { return f.key == key && f.joinable })
}

func (m *model) call(k kind, key int) (starts bool) {
	i := m.joinable(key)
	if starts = i < 0; starts {
		i = len(m.flights)
		m.flights = append(m.flights, modelFlight{key: key, joinable: true, running: true})
		m.stats.Executions++
		m.stats.Running++
		m.stats.InFlight++
	} else {
		m.stats.Joined++
	}
	m.flights[i].waiting++
	m.flights[i].channels = m.flights[i].channels || k == doChan
	m.callers = append(m.callers, modelCaller{kind: k, flight: i, state: "waits"})
	return starts
}

func (m *model) forget(i int) {
	if i >= 0 && m.flights[i].joinable {
		m.flights[i].joinable = false
		m.stats.InFlight--
	}
}

func (m *model) unshared(i int) bool { return i < 0 || m.flights[i].waiting == 1 }

// end ends flight i in one of the ways of a modelCaller's state.
func (m *model) end(i int, how string) {
	m.forget(i)
	m.flights[i].running, m.flights[i].cancelled = false, true
	m.stats.Running--
	for j := range m.callers {
		if c := &m.callers[j]; c.flight == i && c.state == "waits" {
			c.state, c.shared = how, m.flights[i].waiting > 1
		}
	}
}

func (m *model) leave(j int) {
	m.callers[j].state = "left"
	m.stats.Left++
	i := m.callers[j].flight
	if m.flights[i].waiting--; m.flights[i].waiting == 0 {
		m.flights[i].cancelled = true
		m.forget(i)
	}
}

// crashes reports whether a panic in flight i would end the process. Programs
// skip it: the matrix in panic_test.go has these.
func (m *model) crashes(i int) bool { return m.flights[i].channels || m.flights[i].waiting == 0 }

// A world is the real thing beside the model.
type world struct {
	model
	g       group[int, int]
	runs    []*flightRun // by flight, in order of their start
	calls   []*caller[int]
	cancels []context.CancelFunc
}

type flightRun struct {
	ctx context.Context // nil without one of its own
	end chan string
}

// fn is a load that ends when it is told to, and is deaf to its context.
func (w *world) fn(ctx context.Context) (int, error) {
	n := len(w.runs)
	run := &flightRun{ctx: ctx, end: make(chan string)}
	w.runs = append(w.runs, run)
	switch <-run.end {
	case "failed":
		return n, errBroken
	case "panicked":
		panic(n)
	case "exited":
		runtime.Goexit()
	}
	return n, nil
}

var howToEnd = []string{"returned", "failed", "panicked", "exited"}

// step does in both worlds what a byte of the program says, and returns it in words.
func (w *world) step(t *testing.T, b byte) string {
	op, arg := int(b)%12, int(b)/12
	key := arg % 3
	switch {
	case op < int(kinds):
		k := kind(op)
		ctx, cancel := context.WithCancel(t.Context())
		w.cancels = append(w.cancels, cancel)
		load := w.fn
		if !w.call(k, key) {
			load = nil // a joiner's fn is not looked at
		}
		plain := func() (int, error) { return load(nil) }
		switch k {
		case do:
			w.calls = append(w.calls, startDo(w.g, key, plain))
		case doChan:
			w.calls = append(w.calls, receive(w.g.DoChan(key, plain)))
		case doContext:
			w.calls = append(w.calls, startContext(ctx, w.g, key, load))
		case doContextBackground:
			w.calls = append(w.calls, start(func() (int, error, bool) {
				return w.g.DoContext(context.Background(), key, func(context.Context) (int, error) { return load(nil) })
			}))
		}
		return fmt.Sprintf("call %d: kind %d, key %d", len(w.calls)-1, k, key)
	case op < 8 && len(w.flights) > 0:
		i, how := arg%len(w.flights), howToEnd[op-4]
		if !w.flights[i].running || how == "panicked" && w.crashes(i) {
			return "nothing"
		}
		w.end(i, how)
		w.runs[i].end <- how
		return fmt.Sprintf("flight %d ends: %s", i, how)
	case op < 10 && len(w.callers) > 0:
		j := (len(w.callers) - 1 - arg%len(w.callers))
		w.cancels[j]()
		if c := w.callers[j]; c.kind == doContext && c.state == "waits" {
			w.leave(j)
		}
		return fmt.Sprintf("cancel call %d", j)
	case op == 10:
		w.forget(w.joinable(key))
		w.g.Forget(key)
		return fmt.Sprintf("Forget(%d)", key)
	case op == 11:
		i := w.joinable(key)
		want := w.unshared(i)
		if got := w.g.ForgetUnshared(key); got != want {
			t.Errorf("ForgetUnshared(%d) = %v, want %v", key, got, want)
		}
		if want {
			w.forget(i)
		}
		return fmt.Sprintf("ForgetUnshared(%d)", key)
	}
	return "nothing"
}

// compare checks everything that can be seen against the model.
func (w *world) compare(t *testing.T) {
	t.Helper()
	wantStats(t, w.g, w.stats)
	if got, want := len(w.runs), len(w.flights); got != want {
		t.Fatalf("%d executions, want %d", got, want)
	}
	for i, f := range w.flights {
		if ctx := w.runs[i].ctx; ctx != nil && (ctx.Err() != nil) != f.cancelled {
			t.Errorf("the context of flight %d: %v, want done %v", i, ctx.Err(), f.cancelled)
		}
	}
	for j, c := range w.callers {
		name, got := fmt.Sprintf("call %d", j), w.calls[j]
		switch c.state {
		case "waits":
			got.waiting(t, name)
		case "left":
			got.want(t, name, 0, context.Canceled, false)
		case "returned":
			got.want(t, name, c.flight, nil, c.shared)
		case "failed":
			got.want(t, name, c.flight, errBroken, c.shared)
		case "panicked":
			if p, ok := got.panic.(*singleflight.PanicError); !ok || p.Value != c.flight {
				t.Errorf("%s: panic %v, want a *PanicError with %d", name, got.panic, c.flight)
			}
		case "exited":
			if c.kind == doChan {
				got.want(t, name, 0, singleflight.ErrGoexit, c.shared)
			} else if !got.exited {
				t.Errorf("%s: %v, %v, panic %v, want Goexit", name, got.v, got.err, got.panic)
			}
		}
	}
}

// FuzzGroup runs a program of steps on a real Group and on the model, and
// compares all that can be seen after each.
func FuzzGroup(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		program := make([]byte, 1+r.IntN(60))
		for i := range program {
			program[i] = byte(r.Uint32())
		}
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) == 0 || len(program) > 200 { // a longer one takes long, and shows no more
			return
		}
		synctest.Test(t, func(t *testing.T) {
			w := &world{g: new(singleflight.Group[int, int])}
			if program[0]%2 == 1 {
				w.g = new(singleflight.ShardedGroup[int, int])
			}
			log := []string{fmt.Sprintf("%T", w.g)}
			check := func() bool {
				synctest.Wait()
				if w.compare(t); t.Failed() {
					t.Logf("after %q", log)
				}
				return !t.Failed()
			}
			for _, b := range program[1:] {
				log = append(log, w.step(t, b))
				if !check() {
					break
				}
			}
			for i, run := range w.runs { // whatever is still up
				if w.flights[i].running {
					w.end(i, "returned")
					run.end <- "returned"
				}
			}
			check()
			for _, cancel := range w.cancels {
				cancel()
			}
		})
	})
}
