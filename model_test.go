// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package singleflight_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"

	"example.com/singleflight"
)

// A model is what the documentation says of a Group and a cache, without
// goroutines and locks: lists of flights, of callers and of calls that
// forget, and what each step does to them.
type model struct {
	flights []modelFlight
	callers []modelCaller
	forgets []modelForget
	cache   map[int]int // by key, the flight that loaded what is there
	stats   singleflight.Stats
}

type modelFlight struct {
	key                 int
	joinable, running   bool
	fills, storing      bool // Fill started it, and its Set is running
	ownContext, ctxDone bool // fn has a context that can be canceled, and is
	channels            bool // a call of DoChan waits for it
	waiting             int  // callers that have not left
}

type modelCaller struct {
	kind   kind
	flight int    // or -1 for a hit
	state  string // waits, left, returned, failed, panicked or exited
	v      int
	shared bool
}

// A modelForget is a call that forgets a key. It may have to wait for a Set.
type modelForget struct {
	flight      int // whose Set it waits for, or -1
	invalidates bool
	result      bool
}

type kind int

const (
	do kind = iota
	doChan
	doContext
	doContextBackground
	fill
	fillBackground
	kinds
)

func (k kind) fills() bool  { return k == fill || k == fillBackground }
func (k kind) leaves() bool { return k == doContext || k == fill }

// joinable returns the index of the flight that a call for key joins, or -1.
func (m *model) joinable(key int) int {
	return slices.IndexFunc(m.flights, func(f modelFlight) bool { return f.key == key && f.joinable })
}

// call makes a call and reports whether it calls its fn. If the call is late,
// its first Get was before anything was stored.
func (m *model) call(k kind, key int, late bool) (runs bool) {
	cached, hit := m.cache[key]
	if k.fills() && hit && !late {
		m.callers = append(m.callers, modelCaller{kind: k, flight: -1, state: "returned", v: cached})
		return false
	}
	i := m.joinable(key)
	starts := i < 0
	if starts {
		i = len(m.flights)
		m.flights = append(m.flights, modelFlight{
			key: key, joinable: true, running: true, fills: k.fills(), ownContext: k == doContext,
		})
		m.stats.Executions++
		m.stats.Running++
		m.stats.InFlight++
	} else {
		m.stats.Joined++
	}
	m.flights[i].waiting++
	m.flights[i].channels = m.flights[i].channels || k == doChan
	m.callers = append(m.callers, modelCaller{kind: k, flight: i, state: "waits"})
	if starts && k.fills() && hit {
		m.end(i, "returned", cached)
		return false
	}
	return starts
}

// remove makes flight i one that cannot be joined.
func (m *model) remove(i int) {
	if i >= 0 && m.flights[i].joinable {
		m.flights[i].joinable = false
		m.stats.InFlight--
	}
}

// forget makes a call that forgets key, or that waits for its Set.
func (m *model) forget(key int, unshared, invalidates bool) {
	i := m.joinable(key)
	f := modelForget{flight: -1, invalidates: invalidates, result: true}
	switch {
	case unshared && i >= 0 && m.flights[i].waiting > 1:
		f.result = false
	case i >= 0 && m.flights[i].storing:
		f.flight = i
	default:
		m.remove(i)
		if invalidates {
			delete(m.cache, key)
		}
	}
	m.forgets = append(m.forgets, f)
}

// fnEnds ends fn of flight i, or the Set that comes after it, in one of the
// ways of modelCaller.state.
func (m *model) fnEnds(i int, how string) {
	f := &m.flights[i]
	switch {
	case f.storing && how == "returned":
		m.cache[f.key] = i
	case f.fills && f.joinable && how == "returned":
		f.storing = true
		return
	}
	m.end(i, how, i)
}

// end ends flight i with value v.
func (m *model) end(i int, how string, v int) {
	m.remove(i)
	f := &m.flights[i]
	f.running, f.storing, f.ctxDone = false, false, f.ownContext
	m.stats.Running--
	for j := range m.callers {
		if c := &m.callers[j]; c.flight == i && c.state == "waits" {
			c.state, c.v, c.shared = how, v, f.waiting > 1
		}
	}
	for j := range m.forgets {
		if w := &m.forgets[j]; w.flight == i {
			w.flight = -1
			if w.invalidates {
				delete(m.cache, f.key)
			}
		}
	}
}

func (m *model) leave(j int) {
	m.callers[j].state = "left"
	m.stats.Left++
	i := m.callers[j].flight
	if f := &m.flights[i]; f.waiting > 1 || f.fills {
		f.waiting--
	} else {
		f.waiting, f.ctxDone = 0, true
		m.remove(i)
	}
}

// crashes reports whether a panic in flight i would crash the program. Such
// steps are left out. The matrix in panic_test.go has them.
func (m *model) crashes(i int) bool { return m.flights[i].channels || m.flights[i].waiting == 0 }

// A world is a real Group and a real cache beside the model.
type world struct {
	model
	g         group[int, int]
	real      *mapCache[int, int]
	late      bool         // the next Get reports nothing
	runs      []*flightRun // by flight, in order of their start
	calls     []*caller[int]
	cancels   []context.CancelFunc
	forgotten []*caller[bool]
}

type flightRun struct {
	ctx context.Context // nil if fn has none of its own
	end chan string
}

// fn is a load that ends when endFlight tells it to, and ignores its context.
func (w *world) fn(ctx context.Context) (int, error) {
	n := len(w.runs)
	run := &flightRun{ctx: ctx, end: make(chan string)}
	w.runs = append(w.runs, run)
	return n, run.wait(n)
}

// wait waits until endFlight says how to end, and ends so.
func (run *flightRun) wait(n int) error {
	switch <-run.end {
	case "failed":
		return errBroken
	case "panicked":
		panic(n)
	case "exited":
		runtime.Goexit()
	}
	return nil
}

// A world is the cache of its calls. Set ends when endFlight tells it to.
func (w *world) Get(key int) (int, bool) {
	if w.late {
		w.late = false
		return 0, false
	}
	return w.real.Get(key)
}

func (w *world) Set(key, v int) {
	w.runs[v].wait(v)
	w.real.Set(key, v)
}

func (w *world) Delete(key int) { w.real.Delete(key) }

var howToEnd = []string{"returned", "failed", "panicked", "exited"}

// step does what a byte of the program says, really and in the model, and
// returns it in words.
func (w *world) step(t *testing.T, b byte) string {
	op, arg := int(b)%16, int(b)/16
	key := arg % 3
	switch {
	case op < int(kinds):
		return w.startCall(t, kind(op), key, arg >= 12)
	case op < 10 && len(w.flights) > 0:
		return w.endFlight(arg%len(w.flights), howToEnd[op-int(kinds)])
	case op < 12 && len(w.callers) > 0:
		j := (len(w.callers) - 1 - arg%len(w.callers))
		w.cancels[j]()
		if c := w.callers[j]; c.kind.leaves() && c.state == "waits" {
			w.leave(j)
		}
		return fmt.Sprintf("cancel call %d", j)
	case op == 12:
		w.forget(key, false, false)
		w.startForget(func() bool { w.g.Forget(key); return true })
		return fmt.Sprintf("Forget(%d)", key)
	case op == 13:
		w.forget(key, true, false)
		w.startForget(func() bool { return w.g.ForgetUnshared(key) })
		return fmt.Sprintf("ForgetUnshared(%d)", key)
	case op == 14:
		w.forget(key, false, true)
		w.startForget(func() bool { w.g.Invalidate(w, key); return true })
		return fmt.Sprintf("Invalidate(%d)", key)
	case op == 15:
		delete(w.cache, key)
		w.Delete(key)
		return fmt.Sprintf("Delete(%d)", key)
	}
	return "nothing"
}

func (w *world) startCall(t *testing.T, k kind, key int, late bool) string {
	ctx, cancel := context.WithCancel(t.Context())
	w.cancels = append(w.cancels, cancel)
	load := w.fn
	flights := len(w.flights)
	w.late = late && k.fills()
	if !w.call(k, key, w.late) {
		load = nil // which is ignored
		if len(w.flights) > flights {
			w.runs = append(w.runs, nil) // a flight without a load
		}
	}
	plain := func() (int, error) { return load(nil) }
	withoutOne := func(context.Context) (int, error) { return load(nil) }
	switch k {
	case do:
		w.calls = append(w.calls, startDo(w.g, key, plain))
	case doChan:
		w.calls = append(w.calls, receive(w.g.DoChan(key, plain)))
	case doContext:
		w.calls = append(w.calls, startContext(ctx, w.g, key, load))
	case doContextBackground:
		w.calls = append(w.calls, startContext(context.Background(), w.g, key, withoutOne))
	case fill:
		w.calls = append(w.calls, startFill(ctx, w.g, w, key, load))
	case fillBackground:
		w.calls = append(w.calls, startFill(context.Background(), w.g, w, key, withoutOne))
	}
	return fmt.Sprintf("call %d: kind %d, key %d, late %v", len(w.calls)-1, k, key, late)
}

func (w *world) endFlight(i int, how string) string {
	f := w.flights[i]
	if !f.running || how == "panicked" && w.crashes(i) || how == "failed" && f.storing {
		return "nothing"
	}
	w.fnEnds(i, how)
	w.runs[i].end <- how
	return fmt.Sprintf("flight %d: %s", i, how)
}

func (w *world) startForget(forget func() bool) {
	w.forgotten = append(w.forgotten, start(func() (bool, error, bool) { return forget(), nil, false }))
}

// compare checks against the model all that can be seen.
func (w *world) compare(t *testing.T) {
	t.Helper()
	wantStats(t, w.g, w.stats)
	if !maps.Equal(w.real.m, w.cache) {
		t.Errorf("the cache holds %v, want %v", w.real.m, w.cache)
	}
	if got, want := len(w.runs), len(w.flights); got != want {
		t.Fatalf("got %d executions, want %d", got, want)
	}
	for i, f := range w.flights {
		if run := w.runs[i]; run != nil && run.ctx != nil && (run.ctx.Err() != nil) != f.ctxDone {
			t.Errorf("Err of the context of flight %d = %v, want an error: %v", i, run.ctx.Err(), f.ctxDone)
		}
	}
	for j, f := range w.forgets {
		name := fmt.Sprintf("call %d that forgets", j)
		if f.flight >= 0 {
			w.forgotten[j].waiting(t, name)
		} else {
			w.forgotten[j].want(t, name, f.result, nil, false)
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
			got.want(t, name, c.v, nil, c.shared)
		case "failed":
			got.want(t, name, c.v, errBroken, c.shared)
		case "panicked":
			if p, ok := got.panic.(*singleflight.PanicError); !ok || p.Value != c.v {
				t.Errorf("%s: got panic %v, want a *PanicError with %d", name, got.panic, c.v)
			}
		case "exited":
			if c.kind == doChan {
				got.want(t, name, 0, singleflight.ErrGoexit, c.shared)
			} else if !got.exited {
				t.Errorf("%s = %v, %v (panic %v), want Goexit", name, got.v, got.err, got.panic)
			}
		}
	}
}

// FuzzGroup runs a program of steps on a real Group and on the model, and
// compares after each step all that can be seen.
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
		if len(program) == 0 || len(program) > 200 { // a longer program takes long, and shows no more
			return
		}
		synctest.Test(t, func(t *testing.T) {
			w := &world{g: new(singleflight.Group[int, int]), real: newCache[int, int]()}
			w.cache = make(map[int]int)
			if program[0]%2 == 1 {
				w.g = new(singleflight.ShardedGroup[int, int])
			}
			log := []string{fmt.Sprintf("%T", w.g)}
			if program[0]%4 >= 2 { // with a few more flights, the table comes to its limit
				for i := range singleflight.Few - 2 {
					w.startCall(t, doChan, 100+i, false)
					synctest.Wait()
				}
			}
			check := func() bool {
				synctest.Wait()
				w.compare(t)
				if t.Failed() {
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
			for i := range w.flights { // those that are still up
				w.endFlight(i, "returned") // fn or its Set, and then its Set
				synctest.Wait()
				w.endFlight(i, "returned")
			}
			check()
			for _, cancel := range w.cancels {
				cancel()
			}
		})
	})
}
