// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

//go:build schedules

package singleflight_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight"
)

// These tests run small programs in every order in which their goroutines can
// take turns:
//
//	go test -tags schedules -run TestSchedules .
//
// A program is a few actors, each of which makes one call. Its goroutines stop
// at points: before each lock of the Group's mutex, after each unlock that is
// followed by something visible, before each call of the cache, in fn, before a
// write to the database, and before a cancellation. A point is left out if
// another goroutine can see nothing of what comes between it and the next one.
//
// The explorer lets one goroutine go on at a time, and waits with synctest.Wait
// until all have stopped at a point or wait for each other. It does so with
// every choice of a goroutine, depth first.
//
// The select in the Group never has two cases that are ready. When its caller
// comes there, it has just unlocked the mutex, so the flight has not ended.
// While it waits there, the end and the cancellation come one after the
// other, in one order in some schedules and in the other order in others.
//
// If a state has been met before, what follows from it is not run again. A
// state is everything that decides how the program goes on and how it is
// judged: see [trial.state].
var (
	schedules = flag.String("schedules", "gate", "how many schedules: gate or long")
	schedule  = flag.String("schedule", "", "run this schedule of one program only, such as 0.1.0.2")
)

// Actors.

const (
	schedDo             = "Do"
	schedDoChan         = "DoChan"
	schedDoContext      = "DoContext"
	schedCanceled       = "DoContext that is canceled"
	schedBackground     = "DoContext(Background)"
	schedFill           = "Fill"
	schedFillCanceled   = "Fill that is canceled"
	schedFillBackground = "Fill(Background)"
	schedForget         = "Forget"
	schedForgetUnshare  = "ForgetUnshared"
	schedWrite          = "write"
)

var actorKinds = []string{
	schedDo, schedDoChan, schedDoContext, schedCanceled, schedBackground,
	schedFill, schedFillCanceled, schedFillBackground, schedForget, schedForgetUnshare, schedWrite,
}

// An actor makes one call for one of two keys.
type actor struct {
	kind string
	key  int
}

func (a actor) fills() bool   { return strings.HasPrefix(a.kind, schedFill) }
func (a actor) cancels() bool { return strings.HasSuffix(a.kind, "canceled") }
func (a actor) calls() bool   { return !a.forgets() }

// abandons reports whether a flight that a starts is canceled when its last
// caller leaves.
func (a actor) abandons() bool { return a.kind == schedDoContext || a.kind == schedCanceled }

func (a actor) forgets() bool {
	return a.kind == schedForget || a.kind == schedForgetUnshare || a.kind == schedWrite
}

// A programToRun is some actors, and how the fn of each of them ends.
type programToRun struct {
	actors []actor
	ending string // returns, fails, panics or exits
}

func (p programToRun) String() string {
	var names []string
	for _, a := range p.actors {
		name := a.kind
		if a.key > 0 {
			name += "@" + strconv.Itoa(a.key)
		}
		names = append(names, name)
	}
	return strings.Join(names, "+") + "/fn " + p.ending
}

// The trial: one run of a program.

// A loaded value knows which fn has loaded it, and which version it is.
type loaded struct {
	by      int // 1 + the index of the actor
	version int
	cached  bool // it comes from the cache
}

// A process is a goroutine of the program: an actor, the fn of an actor that
// runs on a goroutine of its own, or a cancellation.
type process struct {
	name   string
	order  int
	actor  int
	resume chan struct{}
	at     string // the point where it has stopped, or "" if it has not
	steps  int    // how often it has gone on
	begun  bool   // it has gone on from its first point
	over   bool
}

// A callRun is what has become of an actor's call.
type callRun struct {
	flight   int  // the actor that started its flight, or -1
	stale    int  // the executions, as bits, that it must not get the result of
	known    int  // the lowest version that it may get
	wrote    int  // the version that its write has made
	forgets  int  // the executions, as bits, that are forgotten when it returns
	keeps    bool // ForgetUnshared has found a shared flight, and must report false
	looked   bool
	hit      bool // its first Get has found a value
	canceled bool
	over     bool

	v      loaded
	err    error
	shared bool
	panic  any
	exited bool
}

// An execution is the flight that an actor's call has started, and its fn.
type execution struct {
	record    *singleflight.Flight[int, loaded]
	step      int // the step that started the flight, or 0 if that is the running step
	ctx       context.Context
	value     loaded // what fn will return, or what the second Get has found
	canceled  bool   // fn will return its context's error
	running   bool   // fn is running
	returned  bool   // fn has returned
	over      bool   // the flight is over
	forgotten bool   // the key has been forgotten meanwhile
	abandoned bool   // another fn was started beside it, so that it may have no caller left
	left      bool   // a caller has left since fn returned
	had       bool   // a caller has its result, or a call has forgotten it: calls that begin now must not get it
}

type trial struct {
	program programToRun
	g       singleflight.Group[int, loaded]

	mu         sync.Mutex // for processes that are woken together
	watching   bool
	processes  []*process // by order
	running    *process   // the one that went on last
	calls      []callRun
	executions []execution
	forgetting [2]int // how many calls are forgetting a key, by key

	cache [2]loaded
	db    [2]int
	known [2]int // the highest version that was written and whose Invalidate has returned

	wrong []string
}

func newTrial(p programToRun) *trial {
	tr := &trial{
		program:    p,
		watching:   true,
		calls:      make([]callRun, len(p.actors)),
		executions: make([]execution, len(p.actors)),
	}
	tr.g.Watch(tr.locking, tr.unlocked)
	return tr
}

func (tr *trial) failf(format string, args ...any) {
	tr.wrong = append(tr.wrong, fmt.Sprintf(format, args...))
}

// process returns the process of the given order, and makes it first if there
// is none.
func (tr *trial) process(order int, name string) *process {
	if !tr.watching {
		return nil
	}
	for _, p := range tr.processes {
		if p.order == order {
			return p
		}
	}
	p := &process{name: fmt.Sprintf(name, order%10), order: order, actor: order % 10, resume: make(chan struct{})}
	tr.processes = append(tr.processes, p)
	slices.SortFunc(tr.processes, func(a, b *process) int { return a.order - b.order })
	return p
}

// The three kinds of processes, by the actor.
func (tr *trial) caller(i int) *process   { return tr.process(i, "call %d") }
func (tr *trial) flight(i int) *process   { return tr.process(10+i, "fn of %d") }
func (tr *trial) canceler(i int) *process { return tr.process(20+i, "cancel %d") }

// fnProcess returns the process that runs actor i's fn.
func (tr *trial) fnProcess(i int) *process {
	switch tr.program.actors[i].kind {
	case schedDo, schedBackground, schedFillBackground:
		return tr.caller(i)
	}
	return tr.flight(i)
}

// start starts a process, and returns when it has come to its first point.
func (tr *trial) start(p *process, run func()) {
	tr.running = p
	go func() {
		defer func() {
			tr.mu.Lock()
			p.over = true
			tr.mu.Unlock()
		}()
		run()
	}()
	synctest.Wait()
}

// locking is called before a method locks the mutex. The process that locks
// is the running one, or, if that is a cancellation, the caller whose context
// it has canceled. Other processes that are woken come to a point of their
// own before they lock. If a method did otherwise, its process would have to
// be found here.
func (tr *trial) locking(method string) {
	if !tr.watching {
		return
	}
	p := tr.running
	if method == "leave" {
		p = tr.caller(p.actor)
	}
	tr.point(p, method)
}

func (tr *trial) unlocked(method string) {
	if !tr.watching {
		return
	}
	i := tr.running.actor
	switch method {
	case "end":
		if e := &tr.executions[i]; e.record.Awaited() {
			tr.point(tr.running, "after end")
		} else {
			e.over = true // and its record may be used again
		}
	case "leave":
		if f := tr.calls[i].flight; tr.executions[f].record.Abandoned() {
			tr.point(tr.caller(i), "after leave")
		}
	}
}

// point is called by the process, and stops it until the explorer lets it go
// on.
func (tr *trial) point(p *process, at string) {
	if !tr.watching {
		return
	}
	tr.mu.Lock()
	p.at = at
	tr.mu.Unlock()
	<-p.resume
	if !p.begun && p.order < 10 {
		tr.mu.Lock()
		tr.begins(p.actor)
		tr.mu.Unlock()
	}
	p.begun = true
}

// begins notes what the actor's call may get when it begins now.
func (tr *trial) begins(i int) {
	a, c := tr.program.actors[i], &tr.calls[i]
	c.known = tr.known[a.key]
	for j, e := range tr.executions {
		if e.had {
			c.stale |= 1 << j
		}
	}
	if a.forgets() && a.kind != schedForgetUnshare {
		tr.forgetting[a.key]++
		for j := range tr.executions {
			if e := &tr.executions[j]; tr.program.actors[j].key == a.key && e.record != nil && !e.over {
				e.forgotten = true
				c.forgets |= 1 << j
			}
		}
	}
}

// forgetsUnshared notes what actor i's ForgetUnshared has to do. It is about
// to lock the mutex.
func (tr *trial) forgetsUnshared(i int) {
	a, c := tr.program.actors[i], &tr.calls[i]
	for j := range tr.executions {
		e := &tr.executions[j]
		if e.record == nil || e.over || e.record != tr.g.FlightOf(a.key) {
			continue
		}
		c.keeps = e.record.Callers() > 1
		if !c.keeps {
			e.forgotten = true
			c.forgets |= 1 << j
		}
	}
}

// fn is the load of an actor.
func (tr *trial) fn(i int) func(context.Context) (loaded, error) {
	return func(ctx context.Context) (loaded, error) {
		a, e := tr.program.actors[i], &tr.executions[i]
		tr.mu.Lock()
		e.ctx, e.running = ctx, true
		for j := range tr.executions {
			other := &tr.executions[j]
			if j == i || tr.program.actors[j].key != a.key || !other.running {
				continue
			}
			// The flight that started earlier is the one that can no longer be
			// joined, even if its fn began later.
			earlier, starter := other, j
			if e.step > 0 && e.step < other.step {
				earlier, starter = e, i
			}
			if earlier.forgotten {
				continue
			}
			earlier.abandoned = true
			if !tr.program.actors[starter].abandons() {
				tr.failf("two executions of one key: of actors %d and %d", j, i)
			}
		}
		tr.mu.Unlock()

		tr.point(tr.fnProcess(i), "fn")

		tr.mu.Lock()
		e.running, e.returned = false, true
		v := loaded{by: i + 1, version: tr.db[a.key]}
		canceled := ctx.Err()
		e.value, e.canceled = v, canceled != nil
		if canceled != nil && a.fills() {
			tr.failf("the context of actor %d's load was canceled", i)
		}
		tr.mu.Unlock()
		switch {
		case canceled != nil:
			return v, canceled
		case tr.program.ending == "fails":
			return v, errBroken
		case tr.program.ending == "panics":
			panic(v)
		case tr.program.ending == "exits":
			runtime.Goexit()
		}
		return v, nil
	}
}

// An actorsCache is the cache of the program, as one actor calls it.
type actorsCache struct {
	tr *trial
	i  int
}

func (c actorsCache) Get(key int) (loaded, bool) {
	run := &c.tr.calls[c.i]
	if run.looked {
		c.tr.point(c.tr.fnProcess(c.i), "Get")
		c.tr.mu.Lock()
		defer c.tr.mu.Unlock()
		v := c.tr.cache[key]
		c.tr.executions[c.i].value = v
		return v, v.cached
	}
	c.tr.point(c.tr.caller(c.i), "Get")
	c.tr.mu.Lock()
	defer c.tr.mu.Unlock()
	v := c.tr.cache[key]
	run.looked, run.hit = true, v.cached
	return v, v.cached
}

func (c actorsCache) Set(key int, v loaded) {
	c.tr.point(c.tr.fnProcess(c.i), "Set")
	c.tr.mu.Lock()
	defer c.tr.mu.Unlock()
	v.cached = true
	c.tr.cache[key] = v
}

func (c actorsCache) Delete(key int) {
	c.tr.point(c.tr.caller(c.i), "Delete")
	c.tr.mu.Lock()
	defer c.tr.mu.Unlock()
	c.tr.cache[key] = loaded{}
}

// act makes actor i's call.
func (tr *trial) act(i int, ctx context.Context) {
	a, c, g := tr.program.actors[i], &tr.calls[i], &tr.g
	load := tr.fn(i)
	plain := func() (loaded, error) { return load(context.Background()) }
	returned := false
	var got callRun
	defer func() {
		got.panic = recover()
		got.exited = !returned && got.panic == nil
		tr.mu.Lock()
		defer tr.mu.Unlock()
		c.v, c.err, c.shared, c.panic, c.exited, c.over = got.v, got.err, got.shared, got.panic, got.exited, true
		tr.returns(i)
	}()
	switch a.kind {
	case schedDo:
		got.v, got.err, got.shared = g.Do(a.key, plain)
	case schedDoChan:
		r := <-g.DoChan(a.key, plain)
		got.v, got.err, got.shared = r.Val, r.Err, r.Shared
	case schedDoContext:
		got.v, got.err, got.shared = g.DoContext(ctx, a.key, load)
	case schedCanceled:
		tr.point(tr.caller(i), "call") // so that its context may be done on entry
		got.v, got.err, got.shared = g.DoContext(ctx, a.key, load)
	case schedBackground:
		got.v, got.err, got.shared = g.DoContext(context.Background(), a.key, load)
	case schedFill, schedFillCanceled:
		got.v, got.err, got.shared = g.Fill(ctx, actorsCache{tr, i}, a.key, load)
	case schedFillBackground:
		got.v, got.err, got.shared = g.Fill(context.Background(), actorsCache{tr, i}, a.key, load)
	case schedForget:
		g.Forget(a.key)
	case schedForgetUnshare:
		if forgot := g.ForgetUnshared(a.key); forgot == c.keeps {
			tr.mu.Lock()
			tr.failf("actor %d: ForgetUnshared reported %v", i, forgot)
			tr.mu.Unlock()
		}
	case schedWrite:
		tr.point(tr.caller(i), "write")
		tr.mu.Lock()
		tr.db[a.key]++
		c.wrote = tr.db[a.key]
		tr.mu.Unlock()
		g.Invalidate(actorsCache{tr, i}, a.key)
		tr.mu.Lock()
		tr.known[a.key] = max(tr.known[a.key], c.wrote)
		tr.mu.Unlock()
	}
	returned = true
}

// returns judges what actor i's call has returned.
func (tr *trial) returns(i int) {
	a, c := tr.program.actors[i], &tr.calls[i]
	if a.forgets() {
		if a.kind != schedForgetUnshare {
			tr.forgetting[a.key]--
		}
		for j := range tr.executions {
			if e := &tr.executions[j]; c.forgets&(1<<j) != 0 {
				e.had = true
			}
		}
		if c.panic != nil || c.exited {
			tr.failf("actor %d: panic %v, exited %v", i, c.panic, c.exited)
		}
		return
	}
	v := c.v
	if p, ok := c.panic.(*singleflight.PanicError); ok && tr.program.ending == "panics" {
		v, _ = p.Value.(loaded)
	} else if c.panic != nil {
		tr.failf("actor %d: panic %v", i, c.panic)
	}
	switch {
	case c.err == context.Canceled && v == loaded{} && !c.shared && c.canceled:
		for j := range tr.executions {
			if e := &tr.executions[j]; tr.program.actors[j].key == a.key && e.returned {
				e.left = true
			}
		}
		return
	case c.err == context.Canceled:
		tr.failf("actor %d, canceled %v, got %v, %v: the cancellation of another", i, c.canceled, v, c.err)
	case c.exited || c.err == singleflight.ErrGoexit:
		if tr.program.ending != "exits" || c.exited == (c.err != nil) || c.exited == (a.kind == schedDoChan) {
			tr.failf("actor %d: exited %v, %v", i, c.exited, c.err)
		}
		return // nothing tells which fn it was
	case v.by == 0:
		tr.failf("actor %d got %v, %v", i, c.v, c.err)
		return
	case !v.cached && (tr.program.ending == "returns") != (c.err == nil && c.panic == nil),
		v.cached && (c.err != nil || c.panic != nil):
		tr.failf("actor %d got %v, %v, panic %v", i, c.v, c.err, c.panic)
	}
	e := &tr.executions[v.by-1]
	if tr.program.actors[v.by-1].key != a.key {
		tr.failf("actor %d got the value of another key", i)
	}
	if v.version < c.known {
		tr.failf("actor %d got version %d, and began when a write of version %d had been finished", i, v.version, c.known)
	}
	if !v.cached {
		if c.stale&(1<<(v.by-1)) != 0 {
			tr.failf("actor %d got the result of execution %d, which had been delivered or forgotten when it began", i, v.by-1)
		}
		e.had = true
	}
}

// checkCache is called whenever all goroutines have stopped.
func (tr *trial) checkCache() {
	for key, v := range tr.cache {
		if v.cached && v.version < tr.known[key] {
			tr.failf("the cache has version %d when a write of version %d has been finished", v.version, tr.known[key])
		}
	}
}

// checkEnd is called when nothing goes on.
func (tr *trial) checkEnd() {
	for _, p := range tr.processes {
		// The process of a fn is over when its flight is.
		if over := p.over || p.order >= 10 && p.order < 20 && tr.executions[p.actor].over; !over {
			tr.failf("%s never ends", p.name)
		}
	}
	if tr.wrong != nil {
		return
	}
	var want singleflight.Stats
	canceled, entered := 0, 0
	for i, c := range tr.calls {
		a, e := tr.program.actors[i], tr.executions[i]
		if e.record != nil {
			want.Executions++
		}
		if !a.calls() {
			continue
		}
		if !c.hit {
			entered++
		}
		if c.err == context.Canceled {
			canceled++
		}
		tr.checkExecution(i, e)
	}
	got := tr.g.Stats()
	// A call that was canceled has left, or its context was done on entry.
	want.Left = got.Left
	want.Joined = uint64(entered-canceled) + got.Left - want.Executions
	if got != want || got.Left > uint64(canceled) {
		tr.failf("Stats() = %+v, want %+v, with Left at most %d", got, want, canceled)
	}
}

// checkExecution checks what the callers of actor i's flight have got.
func (tr *trial) checkExecution(i int, e execution) {
	if !e.returned {
		return
	}
	receivers, shared := 0, 0
	for _, c := range tr.calls {
		if c.v.by == i+1 && !c.v.cached {
			receivers++
			if c.shared {
				shared++
			}
		}
	}
	if shared > 0 && (shared != receivers || receivers == 1) || shared == 0 && receivers > 1 {
		tr.failf("%d callers got the result of execution %d, and %d were told that it is shared", receivers, i, shared)
	}
	if !tr.program.actors[i].abandons() {
		return
	}
	// Its context is canceled when fn has returned, if not before.
	if e.ctx.Err() == nil {
		tr.failf("the context of execution %d was not canceled", i)
	}
	if e.abandoned && receivers > 0 {
		tr.failf("another execution was started beside %d, which has callers", i)
	}
}

// state describes everything that decides how the program goes on and how it is
// judged.
func (tr *trial) state() string {
	b := make([]byte, 0, 256)
	for _, p := range tr.processes {
		b = append(b, byte(p.order), byte(p.steps), flags(p.begun, p.over))
		b = append(b, p.at...)
	}
	for i, c := range tr.calls {
		b = append(b, '/', byte(i), byte(c.flight), byte(c.stale), byte(c.known), byte(c.wrote), byte(c.forgets))
		b = append(b, flags(c.looked, c.hit, c.canceled, c.over, c.shared, c.exited, c.err != nil, c.panic != nil), flags(c.keeps))
		b = c.v.append(b)
	}
	for i, e := range tr.executions {
		b = append(b, '/', byte(i), flags(e.running, e.returned, e.over, e.forgotten, e.abandoned, e.left, e.had, e.ctx != nil && e.ctx.Err() != nil), flags(e.canceled))
		b = e.value.append(b)
		if e.record != nil && !e.over {
			b = e.record.Append(b)
		}
	}
	tr.watching = false
	spares, _ := tr.g.Spares()
	tr.watching = true
	b = append(b, '/', byte(spares))
	for key := range tr.cache {
		b = append(tr.cache[key].append(b), byte(tr.forgetting[key]), byte(tr.db[key]), byte(tr.known[key]))
	}
	return string(b)
}

// outcome describes everything that has come of the program.
func (tr *trial) outcome() string {
	b := fmt.Append(nil, tr.g.Stats(), tr.cache, tr.db, tr.known)
	for _, c := range tr.calls {
		b = fmt.Append(b, "/", c.v, c.err, c.shared, c.panic != nil, c.exited, c.hit, c.keeps)
	}
	return string(b)
}

func (v loaded) append(b []byte) []byte {
	return append(b, byte(v.by), byte(v.version), flags(v.cached))
}

func flags(all ...bool) (b byte) {
	for i, f := range all {
		if f {
			b |= 1 << i
		}
	}
	return b
}

// The explorer.

// A choice says which of several processes went on.
type choice struct{ taken, of int }

// An explorer runs a program in one schedule after another.
type explorer struct {
	program programToRun
	most    int  // how many preemptions there may be, or -1 for any number
	full    bool // run also what follows from known states
	path    []choice
	seen    map[string]int // by state, how many preemptions were left there
	runs    int
	ends    map[string]bool // the states in which the program has ended
	trace   []traced        // what the last run did
}

// A traced step is a process that went on from a point.
type traced struct {
	process *process
	at      string
}

// next makes path the next schedule, and reports whether there is one.
func (x *explorer) next() bool {
	for n := len(x.path); n > 0; n = len(x.path) {
		if last := &x.path[n-1]; last.taken+1 < last.of {
			last.taken++
			return true
		}
		x.path = x.path[:n-1]
	}
	return false
}

// run runs the program in the schedule that begins with path, lets it go on
// with the first of all choices, and adds these to path.
func (x *explorer) run() *trial {
	x.runs++
	x.trace = x.trace[:0]
	tr := newTrial(x.program)
	cancels := make([]context.CancelFunc, len(x.program.actors))
	for i, a := range x.program.actors {
		ctx, cancel := context.WithCancel(context.Background())
		cancels[i] = cancel
		tr.calls[i].flight = -1
		tr.start(tr.caller(i), func() { tr.act(i, ctx) })
		if a.cancels() {
			p := tr.canceler(i)
			tr.start(p, func() {
				tr.point(p, "cancel")
				tr.mu.Lock()
				tr.calls[i].canceled = true
				tr.mu.Unlock()
				cancel()
			})
		}
	}
	tr.running = nil
	defer func() {
		for _, cancel := range cancels {
			cancel()
		}
	}()
	left := x.most
	for depth := 0; ; depth++ {
		synctest.Wait()
		tr.checkCache()
		ready := tr.ready()
		if len(ready) == 0 {
			break
		}
		goesOn := ready[0] == tr.running
		if goesOn && left == 0 {
			ready = ready[:1]
		}
		if depth == len(x.path) {
			if x.known(tr, left, ready[0], goesOn) {
				wrong := tr.wrong
				tr.release()
				tr.wrong = wrong // what goes on without stopping is not judged
				return tr
			}
			x.path = append(x.path, choice{0, len(ready)})
		}
		c := &x.path[depth]
		c.of = len(ready)
		if c.taken >= c.of {
			tr.failf("the schedule does not fit: choice %d of %d", c.taken, c.of)
			tr.release()
			return tr
		}
		if c.taken > 0 && goesOn {
			left--
		}
		x.step(tr, ready[c.taken])
	}
	end := tr.state()
	tr.release()
	tr.checkEnd()
	x.ends[end+tr.outcome()] = true
	return tr
}

// ready returns the processes that can go on. If the one that went last can,
// it is the first.
func (tr *trial) ready() (ready []*process) {
	if tr.running != nil && tr.running.at != "" {
		ready = append(ready, tr.running)
	}
	for _, p := range tr.processes {
		if p.at != "" && p != tr.running && !tr.redundant(p) {
			ready = append(ready, p)
		}
	}
	return ready
}

// known reports whether the program has been in this state before, with as
// many preemptions left.
func (x *explorer) known(tr *trial, left int, first *process, goesOn bool) bool {
	if x.full {
		return false
	}
	state := tr.state()
	if x.most >= 0 {
		state += first.name + strconv.FormatBool(goesOn)
	}
	before, ok := x.seen[state]
	if ok && before >= left {
		return true
	}
	x.seen[state] = left
	return false
}

// release lets all processes go on to their end without stopping.
func (tr *trial) release() {
	tr.watching = false
	for _, p := range tr.processes {
		if p.at != "" {
			p.at = ""
			p.resume <- struct{}{}
		}
	}
	synctest.Wait()
}

// redundant reports whether nothing is lost if p does not go on now. Of two
// actors that do the same, only the first begins first, since they could
// change names. A cancellation that comes when the call is over changes
// nothing.
func (tr *trial) redundant(p *process) bool {
	a := tr.program.actors[p.actor]
	if p.order >= 20 {
		return tr.calls[p.actor].over
	}
	return p.order > 0 && p.order < 10 && !p.begun && a == tr.program.actors[p.actor-1] && !tr.caller(p.actor-1).begun
}

// step lets a process go on until all have stopped again, and notes the
// flight that it has joined, started or ended.
func (x *explorer) step(tr *trial, p *process) {
	x.trace = append(x.trace, traced{p, p.at})
	i, at := p.actor, p.at
	key := tr.program.actors[i].key
	joins := tr.g.FlightOf(key)
	if at == "ForgetUnshared" {
		tr.forgetsUnshared(i)
	}
	tr.running, p.at = p, ""
	p.steps++
	p.resume <- struct{}{}
	synctest.Wait()
	switch at {
	case "Do", "DoChan", "enter":
		tr.calls[i].flight = i
		for j, e := range tr.executions {
			if joins != nil && e.record == joins && !e.over {
				tr.calls[i].flight = j
			}
		}
		if tr.calls[i].flight == i {
			e := &tr.executions[i]
			e.record, e.step = tr.g.FlightOf(key), len(x.trace)
			e.forgotten = tr.forgetting[key] > 0
		}
	case "after end":
		tr.executions[i].over = true
	case "after leave":
		if e := tr.executions[tr.calls[i].flight]; p.at == "" && e.record.Abandoned() && e.ctx.Err() == nil {
			tr.failf("the last caller has left, and the context of execution %d was not canceled", tr.calls[i].flight)
		}
	}
}

func (x *explorer) schedule() string {
	var s []string
	for _, c := range x.path {
		s = append(s, strconv.Itoa(c.taken))
	}
	return strings.Join(s, ".")
}

// story returns in words what the last run did.
func (x *explorer) story() string {
	var b strings.Builder
	for i, a := range x.program.actors {
		fmt.Fprintf(&b, "call %d is %s\n", i, a.kind)
	}
	for _, s := range x.trace {
		fmt.Fprintf(&b, "%s: %s\n", s.process.name, s.at)
	}
	return b.String()
}

func newExplorer(p programToRun, most int, full bool) *explorer {
	return &explorer{program: p, most: most, full: full, seen: make(map[string]int), ends: make(map[string]bool)}
}

// explore runs all schedules of the program, or the one that -schedule names.
func (x *explorer) explore(t *testing.T) {
	if *schedule != "" {
		for s := range strings.SplitSeq(*schedule, ".") {
			n, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("-schedule %s: %v", *schedule, err)
			}
			x.path = append(x.path, choice{taken: n})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		for {
			tr := x.run()
			if tr.wrong != nil || *schedule != "" {
				t.Logf("%v, schedule %s:\n%s", x.program, x.schedule(), x.story())
			}
			for _, wrong := range tr.wrong {
				t.Error(wrong)
			}
			if tr.wrong != nil || *schedule != "" || !x.next() {
				return
			}
		}
	})
}

// programs returns all programs of n actors on one key, each with all endings
// of fn that do not crash the program.
func programs(n int) (all []programToRun) {
	var add func(actors []actor, from int)
	add = func(actors []actor, from int) {
		if len(actors) == n {
			all = append(all, withEndings(actors)...)
			return
		}
		for k := from; k < len(actorKinds); k++ {
			add(append(slices.Clone(actors), actor{kind: actorKinds[k]}), k)
		}
	}
	add(nil, 0)
	return all
}

func withEndings(actors []actor) (all []programToRun) {
	// A panic crashes the program if it cannot reach a caller.
	crashes := slices.ContainsFunc(actors, func(a actor) bool { return a.kind == schedDoChan || a.cancels() })
	calls := slices.ContainsFunc(actors, actor.calls)
	for _, ending := range []string{"returns", "fails", "panics", "exits"} {
		if ending == "returns" || calls && !(ending == "panics" && crashes) {
			all = append(all, programToRun{actors, ending})
		}
	}
	return all
}

// twoKeys are programs with a second key, where a record may be used again.
var twoKeys = [][]actor{
	{{schedDo, 0}, {schedDo, 1}, {schedDo, 0}},
	{{schedDo, 0}, {schedDo, 1}, {schedDoContext, 0}, {schedDo, 1}},
	{{schedDo, 0}, {schedBackground, 1}, {schedCanceled, 0}, {schedDo, 1}},
	{{schedDo, 0}, {schedForget, 0}, {schedDo, 1}, {schedDo, 0}},
	{{schedFill, 0}, {schedDo, 1}, {schedForget, 0}, {schedDo, 0}},
}

// Programs of one and two actors are run in all schedules, and so are most of
// those with three. Without -schedules long, programs of three with several
// cancellations have at most two preemptions, and those with a cancellation
// and an fn that does not return have at most one. A preemption is a choice
// of another process than the last one, where that could go on.
func TestSchedules(t *testing.T) {
	if *schedules != "gate" && *schedules != "long" {
		t.Fatalf("got -schedules %s, want gate or long", *schedules)
	}
	test := func(name string, programs []programToRun, most int) {
		t.Run(name, func(t *testing.T) {
			var count, runs atomic.Int64
			began := time.Now()
			t.Run("all", func(t *testing.T) {
				for _, p := range programs {
					t.Run(p.String(), func(t *testing.T) {
						t.Parallel()
						x := newExplorer(p, most, false)
						x.explore(t)
						runs.Add(int64(x.runs))
						count.Add(1)
					})
				}
			})
			how := "all"
			if most >= 0 {
				how = fmt.Sprintf("with at most %d preemptions", most)
			}
			fmt.Printf("%s: %d programs, %d schedules (%s), %v\n", name, count.Load(), runs.Load(), how, time.Since(began).Round(time.Second/10))
		})
	}
	test("one", programs(1), -1)
	test("pairs", programs(2), -1)
	var complete, large, largeThatFail []programToRun
	for _, p := range programs(3) {
		cancels := 0
		for _, a := range p.actors {
			if a.cancels() {
				cancels++
			}
		}
		returns := p.ending == "returns" // the most comes after such a fn
		switch {
		case cancels == 0 || cancels == 1 && returns || *schedules == "long":
			complete = append(complete, p)
		case returns:
			large = append(large, p)
		default:
			largeThatFail = append(largeThatFail, p)
		}
	}
	test("triples", complete, -1)
	if large != nil {
		test("large triples", large, 2)
		test("large triples whose fn fails", largeThatFail, 1)
	}
	var more []programToRun
	for _, actors := range twoKeys {
		more = append(more, withEndings(actors)...)
	}
	for _, wrong := range wrongVersions {
		more = append(more, programToRun{wrong.program, "returns"})
	}
	test("more", more, 3)
}

// Nothing is lost if what follows from known states is left out. Programs
// that are small enough to be run with and without it end in the same states.
func TestKnownStatesCanBeLeftOut(t *testing.T) {
	all := programs(2)
	for _, others := range [][]string{{schedDo, schedFill}, {schedFill, schedForget}, {schedFill, schedWrite}} {
		all = append(all, programToRun{[]actor{{others[0], 0}, {others[1], 0}, {schedWrite, 0}}, "returns"})
	}
	for _, p := range all {
		if slices.ContainsFunc(p.actors, actor.cancels) && *schedules != "long" {
			continue
		}
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			x, all := newExplorer(p, -1, false), newExplorer(p, -1, true)
			x.explore(t)
			all.explore(t)
			if !maps.Equal(x.ends, all.ends) {
				t.Errorf("%d schedules without known states end in %d states, and all %d schedules in %d, want the same", x.runs, len(x.ends), all.runs, len(all.ends))
			}
			t.Logf("%d schedules end in %d states, %d in %d", x.runs, len(x.ends), all.runs, len(all.ends))
		})
	}
}
