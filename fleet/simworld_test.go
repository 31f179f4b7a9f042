// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/internal/enginetest"
)

// A simScript says what happens in one run of the simulation: everything, but
// for what the protocol makes of it.
type simScript struct {
	seed                   uint64
	procs                  int
	lease, linger, timeout time.Duration
	latency, late          time.Duration
	gone, required         bool
	unchecked              bool // the engine accepts every write
	length                 time.Duration
	actions                []simAction
}

// A simAction is something that happens at a time after the beginning.
type simAction struct {
	at   time.Duration
	kind string
	proc int
	key  string

	timeout time.Duration // of the context of a call or Forget; 0: it is never done
	load    simLoadSpec   // of a call

	dur   time.Duration // of a fault
	late  time.Duration // how late messages are; how far a store is rolled back, or a clock goes forward
	every int           // only so many messages are concerned
}

// A simLoadSpec says how fn behaves, if this call runs it.
type simLoadSpec struct {
	dur     time.Duration
	fails   bool
	large   bool // too large for the engine
	ignores bool // its context
}

func (a simAction) String() string {
	s := fmt.Sprintf("%v\t%s", a.at, a.kind)
	switch a.kind {
	case "call":
		s += fmt.Sprintf(" %s in process %d, timeout %v, load %+v", a.key, a.proc, a.timeout, a.load)
	case "forget":
		s += fmt.Sprintf(" %s in process %d, timeout %v", a.key, a.proc, a.timeout)
	default:
		if !strings.HasPrefix(a.kind, "server") {
			s += fmt.Sprintf(" of process %d", a.proc)
		}
		s += fmt.Sprintf(", for %v", a.dur)
		if a.late != 0 {
			s += fmt.Sprintf(", by %v", a.late)
		}
		if a.every != 0 {
			s += fmt.Sprintf(", each %d", a.every)
		}
	}
	return s
}

// A simHistory is what happened in a run.
type simHistory struct {
	calls   []*simCall
	loads   []*simLoad
	forgets []*simForget
	faults  []simFault
	procs   []*simProc
	wrong   []string // what the run itself has noticed
	end     time.Duration
}

const simNever = time.Duration(1<<63 - 1)

type simCall struct {
	proc       int // the number of the process, not of its place
	key        string
	begin, end time.Duration
	done       time.Duration // when its context was done, or simNever
	load       int           // whose result it got, or -1
	err        error
	killed     bool // its process was, and it does not count
}

type simLoad struct {
	proc               int
	key                string
	started            time.Duration // when fn was called; it begins when its process is not stopped
	begin, end         time.Duration
	ctxDone            time.Duration // or simNever
	fallback, takeover bool
	how                string // returned, failed, large, canceled or killed
}

type simForget struct {
	proc       int
	key        string
	begin, end time.Duration
	done       time.Duration
	err        error
	killed     bool
}

type simFault struct {
	kind       string
	proc       int // or -1 for all
	begin, end time.Duration
	every      int
}

// A simProc is a process: a Group with a connection of its own.
type simProc struct {
	number, place int
	began, killed time.Duration

	conn *enginetest.Conn
	g    *fleet.Group[string]
	dead chan struct{}

	// Guarded by the mutex of the simWorld.
	active                     map[int]simAction
	stopped                    int
	resume                     chan struct{}
	fallbacks, takeovers       uint64
	fallbackAt, takeoverAt     time.Duration
	hasFallenBack, hasTakeOver bool
}

// A simWorld is a run in progress.
type simWorld struct {
	script *simScript
	start  time.Time
	fake   *enginetest.Fake
	ctx    context.Context // of calls and Forgets; done when the run ends

	mu     sync.Mutex
	h      simHistory
	places []*simProc
	open   int // calls and Forgets that have not returned
	frozen int
	down   int
	saved  map[int]enginetest.State
}

// errors of a load.
type simError struct{ load int }

func (e simError) Error() string { return fmt.Sprintf("load %d failed", e.load) }

var errKilled = errors.New("the process was killed")

const simMaxData = 4096

// simulate runs a script in a bubble.
func simulate(t *testing.T, s *simScript) (h simHistory) {
	// A loop that never waits stops the bubble's clock. It cannot be ended, so
	// the seed and the stacks have to do.
	stuck := time.AfterFunc(simPatience, func() { panic(fmt.Sprintf("stuck: %v", s)) })
	defer stuck.Stop()
	w := &simWorld{script: s, saved: make(map[int]enginetest.State)}
	defer func() {
		if p := recover(); p != nil { // what is left over waits forever
			w.h.wrong = append(w.h.wrong, fmt.Sprint("left over: ", p))
			h = w.h
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		pprof.Do(t.Context(), pprof.Labels("simulation", strconv.FormatUint(s.seed, 10)), func(context.Context) {
			w.run()
		})
	})
	return w.h
}

// simPatience is for a run, which takes milliseconds.
const simPatience = 30 * time.Second

func (w *simWorld) now() time.Duration { return time.Since(w.start) }

func (w *simWorld) wrongf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.h.wrong = append(w.h.wrong, fmt.Sprintf(format, args...))
}

// spawn makes a process in a place.
func (w *simWorld) spawn(place int) {
	c := w.fake.Connect()
	opts := []fleet.Option{fleet.Lease(w.script.lease), fleet.Linger(w.script.linger), fleet.EngineTimeout(w.script.timeout)}
	if w.script.required {
		opts = append(opts, fleet.RequireEngine())
	}
	g, err := fleet.New[string](c, opts...)
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &simProc{
		number: len(w.h.procs), place: place, began: w.now(), killed: simNever,
		conn: c, g: g, dead: make(chan struct{}), active: make(map[int]simAction), resume: make(chan struct{}),
	}
	w.h.procs = append(w.h.procs, p)
	w.places[place] = p
}

// A simEvent is the beginning or the end of an action.
type simEvent struct {
	at time.Duration
	do func()
}

func (w *simWorld) run() {
	s := w.script
	w.start = time.Now()
	var cancel context.CancelFunc
	w.ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	granularity := time.Second
	if s.gone {
		granularity = time.Millisecond
	}
	w.fake = enginetest.NewFake(enginetest.FakeOptions{
		Granularity: granularity,
		MaxData:     simMaxData,
		Gone:        s.gone,
		Late:        s.late,
		Latency:     s.latency,
		Seed:        s.seed,
		Unchecked:   s.unchecked,
	})
	defer w.fake.Close()
	w.places = make([]*simProc, s.procs)
	for i := range s.procs {
		w.spawn(i)
	}
	var events []simEvent
	for i, a := range s.actions {
		events = append(events, w.events(i, a)...)
	}
	slices.SortStableFunc(events, func(a, b simEvent) int { return cmp.Compare(a.at, b.at) })
	for _, e := range events {
		time.Sleep(e.at - w.now())
		e.do()
	}
	time.Sleep(s.length - w.now())
	w.finish()
	w.h.end = w.now()
}

// events returns when an action begins and ends.
func (w *simWorld) events(id int, a simAction) []simEvent {
	until := min(a.at+a.dur, w.script.length)
	switch a.kind {
	case "call":
		return []simEvent{{a.at, func() { w.call(a) }}}
	case "forget":
		return []simEvent{{a.at, func() { w.forget(a) }}}
	case "kill":
		return []simEvent{{a.at, func() { w.kill(a) }}, {until, func() {
			if w.places[a.proc] == nil {
				w.spawn(a.proc)
			}
		}}}
	case "watches lost":
		return []simEvent{{a.at, func() {
			if p := w.places[a.proc]; p != nil {
				w.fault(a, p.number, a.at)
				p.conn.LoseWatches()
			}
		}}}
	case "server clock forward":
		return []simEvent{{a.at, func() {
			w.fault(a, -1, a.at)
			w.fake.StepClock(a.late)
		}}}
	case "server frozen":
		return []simEvent{{a.at, func() {
			w.fault(a, -1, until)
			if w.frozen++; w.frozen == 1 {
				w.fake.Freeze()
			}
		}}, {until, func() {
			if w.frozen--; w.frozen == 0 {
				w.fake.Thaw()
			}
		}}}
	case "server restarted", "server rolled back", "server wiped":
		return []simEvent{{max(0, a.at-a.late), func() { w.saved[id] = w.fake.Save() }}, {a.at, func() {
			w.fault(a, -1, until)
			if w.down++; w.down == 1 {
				w.fake.Stop()
			}
			switch a.kind {
			case "server rolled back":
				w.fake.Restore(w.saved[id])
			case "server wiped":
				w.fake.Restore(enginetest.State{})
			}
		}}, {until, func() {
			if w.down--; w.down == 0 {
				w.fake.Start()
			}
		}}}
	}
	var p *simProc
	return []simEvent{{a.at, func() {
		if p = w.places[a.proc]; p != nil {
			w.fault(a, p.number, until)
			w.change(p, id, &a)
		}
	}}, {until, func() {
		if p != nil {
			w.change(p, id, nil)
		}
	}}}
}

func (w *simWorld) fault(a simAction, proc int, until time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.h.faults = append(w.h.faults, simFault{a.kind, proc, a.at, until, a.every})
}

// change begins an action that concerns the line of a process, or ends it.
func (w *simWorld) change(p *simProc, id int, a *simAction) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a != nil {
		p.active[id] = *a
		if a.kind == "stopped" {
			p.stopped++
		}
	} else {
		if p.active[id].kind == "stopped" {
			if p.stopped--; p.stopped == 0 {
				close(p.resume)
				p.resume = make(chan struct{})
			}
		}
		delete(p.active, id)
	}
	var l enginetest.Line
	for _, a := range p.active {
		simLine(a, &l)
	}
	p.conn.SetLine(l)
}

// simLine adds what an action does to a line.
func simLine(a simAction, l *enginetest.Line) {
	all := []*enginetest.Way{&l.Requests, &l.Answers, &l.News}
	add := func(way *enginetest.Way, lost, held, doubled bool) {
		way.Lost, way.Held, way.Doubled = way.Lost || lost, way.Held || held, way.Doubled || doubled
		way.Late = max(way.Late, a.late)
		way.Every = max(way.Every, a.every)
	}
	switch a.kind {
	case "requests lost":
		add(&l.Requests, true, false, false)
	case "requests late":
		add(&l.Requests, false, false, false)
	case "requests doubled":
		add(&l.Requests, false, false, true)
	case "answers lost":
		add(&l.Answers, true, false, false)
	case "answers late":
		add(&l.Answers, false, false, false)
	case "news lost":
		add(&l.News, true, false, false)
	case "news late":
		add(&l.News, false, false, false)
	case "news doubled":
		add(&l.News, false, false, true)
	case "silent":
		for _, way := range all {
			add(way, true, false, false)
		}
	case "stopped", "held up":
		for _, way := range all {
			add(way, false, true, false)
		}
	case "cut":
		l.Cut = true
	case "cut, and what is on its way lost":
		l.Cut = true
		for _, way := range all {
			add(way, true, false, false)
		}
	default:
		panic(a.kind)
	}
}

// running waits until a process is not stopped. It returns false if the
// process is dead.
func (w *simWorld) running(p *simProc) bool {
	for {
		w.mu.Lock()
		stopped, killed, resume := p.stopped > 0, p.killed != simNever, p.resume
		w.mu.Unlock()
		if killed || !stopped {
			return !killed
		}
		select {
		case <-resume:
		case <-p.dead:
		}
	}
}

func (w *simWorld) kill(a simAction) {
	p := w.places[a.proc]
	if p == nil {
		return
	}
	w.places[a.proc] = nil
	w.mu.Lock()
	p.killed = w.now()
	w.h.faults = append(w.h.faults, simFault{a.kind, p.number, p.killed, p.killed, 0})
	w.mu.Unlock()
	p.conn.Close() // first, or the others would hear of it
	close(p.dead)
}

// context returns a context that is done after d, if that is not 0, while the
// process runs. The function done returns when that was, and has to be called.
func (w *simWorld) context(p *simProc, d time.Duration) (ctx context.Context, done func() time.Duration) {
	if d == 0 && p.number%2 == 0 { // then fn may run on the caller's own goroutine
		return context.Background(), func() time.Duration { return simNever }
	}
	at := simNever
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(w.ctx)
	go func() {
		var timeout <-chan time.Time
		if d != 0 {
			timeout = time.After(d)
		}
		select {
		case <-timeout:
			w.running(p)
		case <-p.dead:
		case <-ctx.Done():
			return
		}
		mu.Lock()
		at = w.now()
		mu.Unlock()
		cancel()
	}()
	return ctx, func() time.Duration {
		cancel()
		mu.Lock()
		defer mu.Unlock()
		return at
	}
}

func (w *simWorld) began() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open++
}

func (w *simWorld) call(a simAction) {
	p := w.places[a.proc]
	if p == nil {
		return
	}
	w.began()
	go func() {
		w.running(p)
		c := &simCall{proc: p.number, key: a.key, begin: w.now(), end: simNever, done: simNever, load: -1}
		w.mu.Lock()
		w.h.calls = append(w.h.calls, c)
		w.mu.Unlock()
		ctx, done := w.context(p, a.timeout)
		v, err, _ := p.g.DoContext(ctx, a.key, func(ctx context.Context) (string, error) { return w.load(ctx, p, a) })
		defer w.sample(p)
		w.mu.Lock()
		defer w.mu.Unlock()
		c.end, c.err, c.done = w.now(), err, done()
		c.load = simLoadOf(v, err)
		c.killed = c.end >= p.killed
		w.open--
	}()
}

// sample notes what Stats has counted, just after a caller has left: a flight
// may fall back at that instant, and then calls no fn.
func (w *simWorld) sample(p *simProc) {
	time.Sleep(time.Nanosecond)
	stats := p.g.Stats()
	w.mu.Lock()
	defer w.mu.Unlock()
	p.fallbacks, p.takeovers = stats.Fallbacks, stats.Takeovers
}

var simLoadNumber = regexp.MustCompile(`^(?:loading in another process: )?load (\d+) `)

// simLoadOf returns the load that a result comes from.
func simLoadOf(v string, err error) int {
	if err != nil {
		v = err.Error()
	}
	m := simLoadNumber.FindStringSubmatch(v)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		panic(err)
	}
	return n
}

// load is the fn of a call.
func (w *simWorld) load(ctx context.Context, p *simProc, a simAction) (string, error) {
	// Why this process loads is known now, and no longer when it resumes.
	stats := p.g.Stats()
	l := &simLoad{proc: p.number, key: a.key, end: simNever, ctxDone: simNever}
	w.mu.Lock()
	now := w.now()
	l.started = now
	if stats.Fallbacks != p.fallbacks {
		p.fallbacks, p.fallbackAt, p.hasFallenBack = stats.Fallbacks, now, true
	}
	if stats.Takeovers != p.takeovers {
		p.takeovers, p.takeoverAt, p.hasTakeOver = stats.Takeovers, now, true
	}
	l.fallback = p.hasFallenBack && p.fallbackAt == now
	l.takeover = p.hasTakeOver && p.takeoverAt == now
	w.mu.Unlock()
	if !w.running(p) {
		return "", errKilled
	}
	w.mu.Lock()
	l.begin = w.now()
	n := len(w.h.loads)
	w.h.loads = append(w.h.loads, l)
	w.mu.Unlock()
	stop := context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		l.ctxDone = w.now()
	})
	defer stop()

	canceled := ctx.Done()
	if a.load.ignores {
		canceled = nil
	}
	timer := time.NewTimer(a.load.dur)
	defer timer.Stop()
	how := "returned"
	select {
	case <-timer.C:
	case <-canceled:
		how = "canceled"
	case <-p.dead:
	}
	if !w.running(p) {
		how = "killed"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	l.end = w.now()
	text := fmt.Sprintf("load %d of %s", n, a.key)
	switch {
	case how == "killed":
		l.how = how
		return "", errKilled
	case how == "canceled":
		l.how = how
		return "", fmt.Errorf("%s: %w", text, ctx.Err())
	case a.load.fails:
		l.how = "failed"
		return "", simError{n}
	case a.load.large:
		l.how = "large"
		return text + strings.Repeat(" ", 2*simMaxData), nil
	}
	l.how = how
	return text, nil
}

func (w *simWorld) forget(a simAction) {
	p := w.places[a.proc]
	if p == nil {
		return
	}
	w.began()
	go func() {
		w.running(p)
		f := &simForget{proc: p.number, key: a.key, begin: w.now(), end: simNever, done: simNever}
		w.mu.Lock()
		w.h.forgets = append(w.h.forgets, f)
		w.mu.Unlock()
		ctx, done := w.context(p, a.timeout)
		err := p.g.Forget(ctx, a.key)
		w.mu.Lock()
		defer w.mu.Unlock()
		f.end, f.err, f.done = w.now(), err, done()
		f.killed = f.end >= p.killed
		w.open--
	}()
}

// finish checks that everything works and nothing is left when all faults are
// over.
func (w *simWorld) finish() {
	s := w.script
	until := func(what string, limit time.Duration, cond func() bool) {
		for end := w.now() + limit; !cond(); time.Sleep(s.lease / 50) {
			if w.now() > end {
				w.wrongf("left over: %s after %v", what, limit)
				return
			}
		}
	}
	var late time.Duration
	for _, a := range s.actions {
		if a.kind == "requests late" {
			late = max(late, a.late)
		}
	}
	time.Sleep(late + 4*s.latency) // the last requests arrive
	until("calls and Forgets that do not return", 30*s.lease, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.open == 0
	})
	until("loads that run, as Stats says", 10*s.lease, func() bool {
		for _, p := range w.h.procs {
			if s := p.g.Stats(); s.Running != 0 || s.Callers.Running != 0 {
				return false
			}
		}
		return true
	})
	// A record stays for a lease, a claim that was not released for another, and
	// what Forget leaves and markers for a while.
	until("records or watches", 2*s.lease+s.linger+5*time.Second, func() bool { return w.fake.Records() == 0 && w.fake.Watches() == 0 })
	time.Sleep(s.lease) // a silent engine is left alone for a while
	for i, p := range w.places {
		if p == nil {
			w.spawn(i)
			p = w.places[i]
		}
		for _, key := range []string{"a", "b", "new"} {
			before := p.g.Stats()
			began := w.now()
			v, err, _ := p.g.DoContext(context.Background(), key, func(context.Context) (string, error) { return "fresh", nil })
			after := p.g.Stats()
			if v != "fresh" || err != nil || after.Loads != before.Loads+1 || after.Fallbacks != before.Fallbacks || w.now()-began > 20*s.latency {
				w.wrongf("afterwards: a call in process %d returned %q, %v after %v, with %d loads and %d fallbacks", p.number, v, err, w.now()-began,
					after.Loads-before.Loads, after.Fallbacks-before.Fallbacks)
			}
			if err := p.g.Forget(context.Background(), key); err != nil {
				w.wrongf("afterwards: Forget in process %d: %v", p.number, err)
			}
		}
	}
	until("records or watches after the last calls", 2*s.lease+s.linger+5*time.Second, func() bool { return w.fake.Records() == 0 && w.fake.Watches() == 0 })
	for _, p := range w.h.procs {
		if s := p.g.Stats(); s.Running != 0 || s.Callers.Running != 0 || s.Callers.InFlight != 0 {
			w.wrongf("left over: Stats of process %d: %+v", p.number, s)
		}
	}
	for try := 0; ; try++ {
		time.Sleep(s.lease)
		synctest.Wait()
		others := simGoroutines(s.seed)
		if others == "" {
			return
		}
		if try == 3 {
			w.wrongf("left over: goroutines\n%s", others)
			return
		}
	}
}

// simGoroutines returns the stacks of the goroutines of a run, but for the one
// that calls it.
func simGoroutines(seed uint64) string {
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		panic(err)
	}
	var others []string
	for g := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(g, fmt.Sprintf(`"simulation":"%d"`, seed)) && !strings.Contains(g, "simGoroutines") {
			others = append(others, g)
		}
	}
	return strings.Join(others, "\n")
}
