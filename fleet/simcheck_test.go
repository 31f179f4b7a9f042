// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/singleflight/fleet"
)

// A simChecker looks for what is wrong in a history. It knows nothing of the
// protocol but what the documentation promises.
type simChecker struct {
	s     *simScript
	h     *simHistory
	wrong []string

	oldest float64 // how long before a call the load had ended whose value it got, in leases

	rtt time.Duration // more than a request and its answer take on a good line
}

// check looks at a history. Of each line of what is wrong, the part before the
// first colon says of which kind it is.
func (s *simScript) check(h *simHistory) *simChecker {
	c := &simChecker{s: s, h: h, wrong: slices.Clone(h.wrong), rtt: 4 * s.latency}
	c.overlaps()
	c.withoutLeave()
	c.values()
	c.forgets()
	c.ends()
	return c
}

func (c *simChecker) wrongf(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// trouble returns the faults because of which the engine may not get the
// requests of a process, or the process not the answers.
func (c *simChecker) trouble(proc int) (faults []simFault) {
	for _, f := range c.h.faults {
		if f.proc != proc && f.proc != -1 {
			continue
		}
		switch f.kind {
		case "requests lost", "requests late", "answers lost", "answers late", "silent", "stopped", "held up",
			"cut", "cut, and what is on its way lost", "server frozen", "server restarted", "server rolled back", "server wiped":
			faults = append(faults, f)
		}
	}
	return faults
}

// reach returns the last time in trouble of a process before t, or when the
// process began.
func (c *simChecker) reach(proc int, t time.Duration) time.Duration {
	last := c.h.procs[proc].began
	for _, f := range c.trouble(proc) {
		if f.begin <= t {
			last = max(last, min(f.end, t))
		}
	}
	return last
}

// stoppedFor returns for how long a process was stopped between two times.
func (c *simChecker) stoppedFor(proc int, from, to time.Duration) (d time.Duration) {
	for _, f := range c.h.faults {
		if f.proc == proc && f.kind == "stopped" {
			d += max(0, min(f.end, to)-max(f.begin, from))
		}
	}
	return d
}

// storeLost reports whether the store lost records between two times: since
// its server was rolled back or began anew, or its clock was set forward.
func (c *simChecker) storeLost(from, to time.Duration) bool {
	return slices.ContainsFunc(c.h.faults, func(f simFault) bool {
		switch f.kind {
		case "server rolled back", "server wiped", "server clock forward":
			return f.begin <= to && f.end >= from
		}
		return false
	})
}

// leaseLost reports whether the lease of a load may have been lost before t:
// its process was in trouble where it had to renew it, or the store lost the
// record.
//
// A renewal is due at half a lease; what fails is tried again within a
// quarter, and an eighth after that. So it takes one trouble of a quarter of
// a lease, or two.
func (c *simChecker) leaseLost(l *simLoad, t time.Duration) bool {
	if c.storeLost(l.started-c.s.lease, t) {
		return true
	}
	n := 0
	for _, f := range c.trouble(l.proc) {
		if f.end >= l.started-c.s.lease && f.begin <= min(t, l.end) {
			n++
			if f.every > 1 {
				n++ // it is several
			}
			if min(f.end, t)-f.begin >= c.s.lease/4 {
				return true
			}
		}
	}
	return n > 1
}

// left reports whether a caller of the key left at t: its context was done.
func (c *simChecker) left(proc int, key string, t time.Duration) bool {
	return slices.ContainsFunc(c.h.calls, func(call *simCall) bool {
		return call.proc == proc && call.key == key && call.done == t
	})
}

// abandoned reports whether a load was given up before t, since all its
// callers had left or another load had superseded it.
func (c *simChecker) abandoned(l *simLoad, t time.Duration) bool {
	return l.ctxDone <= t && (c.left(l.proc, l.key, l.ctxDone) || c.superseded(l))
}

// superseded reports whether another load may have taken the lease of l. Their
// overlapping is looked at by itself.
func (c *simChecker) superseded(l *simLoad) bool {
	return slices.ContainsFunc(c.h.loads, func(o *simLoad) bool {
		return o != l && o.key == l.key && o.begin >= l.begin && o.begin <= l.ctxDone
	}) || c.leaseLost(l, l.ctxDone)
}

// forgotten reports whether a Forget explains that a load began at t beside l.
func (c *simChecker) forgotten(l *simLoad, t time.Duration) bool {
	since := c.asked(l)
	return slices.ContainsFunc(c.h.forgets, func(f *simForget) bool {
		end := f.end
		if f.err != nil || f.killed {
			end = simNever // what it has sent may arrive at any time
		}
		return f.key == l.key && end >= since && f.begin <= t
	})
}

// asked returns when the claim for a load may have been made: when the first
// of its callers called.
func (c *simChecker) asked(l *simLoad) time.Duration {
	first := l.started
	for _, call := range c.h.calls {
		if call.proc == l.proc && call.key == l.key && call.begin <= l.started && call.end >= l.started {
			first = min(first, call.begin)
		}
	}
	return first
}

// alone reports whether a load may be one that its process runs for itself,
// since a value that it waited for could not be sent.
func (c *simChecker) alone(l *simLoad) bool {
	if c.s.required {
		return false
	}
	return slices.ContainsFunc(c.h.loads, func(w *simLoad) bool {
		return w != l && w.key == l.key && w.how == "large" && w.end <= l.begin &&
			slices.ContainsFunc(c.h.calls, func(call *simCall) bool {
				return call.proc == l.proc && call.key == l.key && call.begin <= w.end+2*c.s.lease && call.end >= l.begin
			})
	})
}

// overlaps checks that two loads of a key run at once only where that is
// allowed.
func (c *simChecker) overlaps() {
	for j, y := range c.h.loads {
		for i, x := range c.h.loads[:j] {
			if x.key != y.key || x.end <= y.begin {
				continue
			}
			switch {
			case x.fallback, y.fallback, c.alone(x), c.alone(y), c.abandoned(x, y.begin), c.leaseLost(x, y.begin),
				y.started < y.begin && c.leaseLost(y, y.begin):
			case c.forgotten(x, y.begin):
				if y.takeover && !c.somethingWasLost(y) {
					c.wrongf("takeover: load %d in process %d at %v took over, but no load was lost; load %d was forgotten, and still runs", j, y.proc, y.begin, i)
				}
			default:
				c.wrongf("overlap: load %d in process %d at %v began while load %d runs in process %d since %v", j, y.proc, y.begin, i, x.proc, x.begin)
			}
		}
	}
	c.superseding()
	c.deaths()
	for j, y := range c.h.loads {
		if y.takeover && !c.somethingWasLost(y) {
			c.wrongf("takeover: load %d in process %d at %v took over, but no load was lost", j, y.proc, y.begin)
		}
	}
}

// superseding checks that a load is canceled when another has taken over, and
// its process has had the time to see that.
func (c *simChecker) superseding() {
	for i, x := range c.h.loads {
		for j, y := range c.h.loads {
			if y.key != x.key || y.begin <= x.begin || y.begin >= x.end || x.fallback || y.fallback || c.alone(x) || c.alone(y) || c.forgotten(x, y.end) || c.leaseLost(y, min(x.end, y.end)) {
				continue
			}
			until := min(x.end, x.ctxDone, y.end, y.ctxDone) // y is given up when its callers leave
			since := until - max(y.begin, c.reach(x.proc, until))
			if limit := c.s.lease/2 + 3*c.s.timeout + c.rtt; since > limit {
				c.wrongf("superseded: load %d in process %d goes on for %v beside load %d in process %d, want %v at most", i, x.proc, since, j, y.proc, limit)
			}
		}
	}
}

// deaths checks that another process takes over within the lease plus one second
// where a process that loads dies or falls silent, and at once where its last
// caller leaves, if nothing else happens.
func (c *simChecker) deaths() {
	within := c.untilTakeover()
	for i, x := range c.h.loads {
		if x.fallback {
			continue
		}
		if x.ctxDone < x.end && c.left(x.proc, x.key, x.ctxDone) && !c.fault(x.proc, x.ctxDone, x.ctxDone+c.rtt) {
			c.death(i, x, x.ctxDone, x.ctxDone+3*c.rtt)
		}
		for _, f := range c.h.faults {
			if f.proc != x.proc || x.begin >= f.begin || x.end < f.begin || x.ctxDone < f.begin || f.every > 1 {
				continue
			}
			switch f.kind {
			case "kill":
				c.death(i, x, f.begin, f.begin+within)
			case "stopped", "silent", "cut":
				if f.end >= f.begin+within {
					c.death(i, x, f.begin, f.begin+within)
				}
			}
		}
	}
}

// untilTakeover returns how long a load that is lost keeps its key: the last
// renewal arrives, and then news, two reads and a claim.
func (c *simChecker) untilTakeover() time.Duration { return c.s.lease + time.Second + 2*c.rtt }

// death checks that load i, which is lost at one time, is taken over by
// another, if a call waits for it elsewhere.
func (c *simChecker) death(i int, x *simLoad, at, by time.Duration) {
	if c.forgotten(x, by) {
		// The copy that Forget makes may outlive the load, for a lease at most. It
		// is written some messages after the read that tells what is left of the
		// lease.
		by = max(by, at+c.untilTakeover()+c.rtt)
		if !c.s.gone {
			by += time.Second // in whole seconds
		}
	}
	if c.fault(x.proc, x.begin-c.s.lease, at-1) || slices.ContainsFunc(c.h.calls, func(call *simCall) bool {
		// What takes over may be lost in turn.
		return call.key == x.key && call.proc != x.proc && call.end >= x.begin && (c.fault(call.proc, x.begin-c.s.lease, by) || at <= call.done && call.done <= by)
	}) {
		return
	}
	for j, call := range c.h.calls {
		if call.key != x.key || call.proc == x.proc || call.begin+c.rtt > at || call.begin < x.begin || call.end <= by {
			continue
		}
		if !slices.ContainsFunc(c.h.loads, func(y *simLoad) bool { return y != x && y.key == x.key && y.begin <= by && y.end >= at }) {
			c.wrongf("takeover: load %d was lost with process %d at %v, and call %d in process %d waits, but nobody took over before %v", i, x.proc, at, j, call.proc, by)
		}
	}
}

// fault reports whether a process or the server had a fault between two times.
func (c *simChecker) fault(proc int, from, to time.Duration) bool {
	return slices.ContainsFunc(c.h.faults, func(f simFault) bool {
		return (f.proc == proc || f.proc == -1) && f.begin <= to && f.end >= from
	})
}

// somethingWasLost reports whether there is something that a load can have
// taken over: a load that was killed, abandoned or lost its lease, or a claim
// without a load, since its callers left or its process fell back.
func (c *simChecker) somethingWasLost(y *simLoad) bool {
	if slices.ContainsFunc(c.h.loads, func(x *simLoad) bool {
		return x != y && x.key == y.key && (x.how == "killed" || c.abandoned(x, y.begin) || x.fallback && x.started <= y.begin || x.started <= y.begin && c.leaseLost(x, y.begin) ||
			x.end <= y.begin && c.reach(x.proc, x.end+4*c.s.timeout+c.rtt) >= x.end || // its result may not have got through
			x.end <= y.begin && c.newsMissed(y.proc, x.begin, y.begin)) // its result was gone, or replaced
	}) {
		return true
	}
	return slices.ContainsFunc(c.h.calls, func(call *simCall) bool {
		// Or the last takeover that Stats has counted was of another key, and
		// led to no load, since its callers had just left.
		return (call.key == y.key || call.proc == y.proc) && (call.done <= y.begin || call.killed || call.err != nil && call.load < 0)
	})
}

// newsMissed reports whether a process may have missed news between two times.
func (c *simChecker) newsMissed(proc int, from, to time.Duration) bool {
	return c.reach(proc, to) >= from || slices.ContainsFunc(c.h.faults, func(f simFault) bool {
		return f.proc == proc && (f.kind == "news lost" || f.kind == "news late" || f.kind == "watches lost") && f.begin <= to && f.end >= from
	})
}

// withoutLeave checks that a process loads without the engine only if it could
// not reach it just before.
func (c *simChecker) withoutLeave() {
	for i, l := range c.h.loads {
		if l.fallback && c.s.required {
			c.wrongf("leave: load %d began without the engine, in spite of RequireEngine", i)
		}
		if l.fallback && !c.lately(l.proc, l.begin) {
			c.wrongf("leave: load %d in process %d began without the engine at %v, which answers", i, l.proc, l.begin)
		}
	}
}

// lately reports whether a process was in trouble just before t. It leaves a
// silent engine alone for half a lease.
func (c *simChecker) lately(proc int, t time.Duration) bool {
	return c.reach(proc, t) >= t-c.s.lease-2*c.s.timeout && len(c.trouble(proc)) > 0
}

// values checks what calls got.
func (c *simChecker) values() {
	for i, call := range c.h.calls {
		if call.killed || call.end == simNever {
			continue
		}
		if call.load >= 0 {
			c.value(i, call, c.h.loads[call.load])
			continue
		}
		switch err := call.err; {
		case errors.Is(err, context.Canceled) && call.done == call.end:
		case errors.Is(err, fleet.ErrUnavailable) && c.s.required && c.lately(call.proc, call.end):
		default:
			c.wrongf("outcome: call %d in process %d from %v to %v returned %v", i, call.proc, call.begin, call.end, err)
		}
	}
}

// bound is how old a value can be: see the package's documentation.
func (c *simChecker) bound() time.Duration { return 2*c.s.lease + c.rtt }

func (c *simChecker) value(i int, call *simCall, l *simLoad) {
	name := fmt.Sprintf("call %d in process %d from %v to %v got load %d, which ran in process %d from %v to %v", i, call.proc, call.begin, call.end, call.load, l.proc, l.begin, l.end)
	switch {
	case call.key != l.key:
		c.wrongf("key: %s, for another key", name)
	case l.end > call.end:
		c.wrongf("early: %s", name)
	case l.how == "killed" || l.how == "canceled":
		c.wrongf("outcome: %s and was %s", name, l.how)
	case l.how == "failed" && call.err == nil, l.how == "returned" && call.err != nil:
		c.wrongf("outcome: %s and %s; the error is %v", name, l.how, call.err)
	}
	if age := call.begin - l.end; age > 0 {
		age -= c.stoppedFor(call.proc, l.end, call.begin)
		c.oldest = max(c.oldest, float64(age)/float64(c.s.lease))
		if age > c.bound() {
			c.wrongf("age: %s: it ended %v before the call, want %v at most", name, call.begin-l.end, c.bound())
		}
	}
	for j, f := range c.h.forgets {
		if f.err != nil || f.killed || f.end == simNever || f.key != call.key || f.end >= call.begin || f.begin <= l.begin || c.storeLost(f.begin, call.end) {
			continue
		}
		since := call.begin - max(f.end, c.reach(call.proc, call.begin))
		limit := c.s.lease*3/4 + c.s.timeout + c.rtt
		// A load with a claim is not joined for longer than that even while the
		// engine cannot be reached.
		ago := call.begin - f.end - c.stoppedFor(call.proc, f.end, call.begin)
		if call.proc == f.proc || since > limit || !l.fallback && ago > c.bound() {
			c.wrongf("forgotten: %s; Forget %d in process %d from %v to %v comes between, %v ago, and could be known for %v", name, j, f.proc, f.begin, f.end, ago, since)
		}
	}
}

// forgets checks what Forgets return.
func (c *simChecker) forgets() {
	for i, f := range c.h.forgets {
		switch {
		case f.killed, f.end == simNever, f.err == nil:
		case errors.Is(f.err, context.Canceled) && f.done == f.end:
		case errors.Is(f.err, fleet.ErrUnavailable) && c.lately(f.proc, f.end):
		default:
			c.wrongf("outcome: Forget %d in process %d from %v to %v returned %v", i, f.proc, f.begin, f.end, f.err)
		}
	}
}

// ends checks that calls and Forgets return when their context is done.
func (c *simChecker) ends() {
	for i, call := range c.h.calls {
		if call.end > call.done || call.end == simNever {
			c.wrongf("late: call %d in process %d from %v to %v, its context was done at %v", i, call.proc, call.begin, call.end, call.done)
		}
	}
	for i, f := range c.h.forgets {
		if f.end > f.done || f.end == simNever {
			c.wrongf("late: Forget %d in process %d from %v to %v, its context was done at %v", i, f.proc, f.begin, f.end, f.done)
		}
	}
}

// The checker can fail: it finds what is wrong in these histories, and nothing
// in those that have an explanation.
func TestSimulationChecks(t *testing.T) {
	const s = time.Second
	script := &simScript{procs: 2, lease: 4 * s, linger: s, timeout: s, latency: time.Millisecond}
	call := func(proc int, begin, end time.Duration, load int) *simCall {
		return &simCall{proc: proc, key: "k", begin: begin, end: end, done: simNever, load: load}
	}
	load := func(proc int, begin, end time.Duration) *simLoad {
		return &simLoad{proc: proc, key: "k", started: begin, begin: begin, end: end, ctxDone: simNever, how: "returned"}
	}
	forget := func(proc int, begin, end time.Duration) *simForget {
		return &simForget{proc: proc, key: "k", begin: begin, end: end, done: simNever}
	}
	left := func(c *simCall) *simCall {
		c.done, c.load, c.err = c.end, -1, context.Canceled
		return c
	}
	is := func(l *simLoad, how string) *simLoad {
		switch l.how = how; how {
		case "fallback":
			l.how, l.fallback = "returned", true
		case "takeover":
			l.how, l.takeover = "returned", true
		}
		return l
	}
	failed := func(c *simCall, err error) *simCall {
		c.err = err
		return c
	}
	two := []*simLoad{load(0, 10*s, 20*s), load(1, 15*s, 25*s)}
	for _, test := range []struct {
		name    string
		calls   []*simCall
		loads   []*simLoad
		forgets []*simForget
		faults  []simFault
		want    string // the kind; none: nothing is wrong
	}{
		{name: "one after the other", loads: []*simLoad{load(0, 10*s, 20*s), load(1, 20*s, 25*s)}},
		{name: "two at once", loads: two, want: "overlap"},
		{name: "two at once, after a Forget that came before", loads: two, forgets: []*simForget{forget(0, 8*s, 9*s)}, want: "overlap"},
		{name: "two at once, after a Forget", loads: two, forgets: []*simForget{forget(0, 12*s, 13*s)}},
		{name: "two at once, one since its process was cut off", loads: []*simLoad{two[0], is(load(1, 15*s, 25*s), "fallback")}, faults: []simFault{{"cut", 1, 14 * s, 16 * s, 0}}},
		{name: "one without leave, and no fault", loads: []*simLoad{is(load(1, 15*s, 25*s), "fallback")}, want: "leave"},
		{name: "one without leave long after a fault", loads: []*simLoad{is(load(1, 15*s, 25*s), "fallback")}, faults: []simFault{{"cut", 1, s, 2 * s, 0}}, want: "leave"},
		{name: "one without leave, and a fault of another process", loads: []*simLoad{is(load(1, 15*s, 25*s), "fallback")}, faults: []simFault{{"cut", 0, 14 * s, 16 * s, 0}}, want: "leave"},
		{name: "two at once, since the holder was silent", loads: two, faults: []simFault{{"silent", 0, 10 * s, 15 * s, 0}}},
		{name: "two at once for long, since the holder was silent", loads: []*simLoad{load(0, 10*s, 40*s), load(1, 15*s, 40*s)}, faults: []simFault{{"silent", 0, 10 * s, 15 * s, 0}}, want: "superseded"},
		{name: "two at once, and the other was silent", loads: two, faults: []simFault{{"silent", 1, 10 * s, 15 * s, 0}}, want: "overlap"},
		{name: "two at once, and the holder was silent for a moment", loads: two, faults: []simFault{{"silent", 0, 12 * s, 12*s + s/2, 0}}, want: "overlap"},
		{name: "two at once, and the holder missed news", loads: two, faults: []simFault{{"news lost", 0, 10 * s, 15 * s, 0}}, want: "overlap"},
		{name: "two at once, since the store lost the record", loads: two, faults: []simFault{{"server wiped", -1, 14 * s, 14 * s, 0}}},
		{name: "two at once, since the first was abandoned",
			loads: []*simLoad{func() *simLoad { l := load(0, 10*s, 20*s); l.ctxDone = 14 * s; return l }(), two[1]}, calls: []*simCall{left(call(0, 10*s, 14*s, 0))}},
		{name: "two at once, and the first was canceled while it had a caller",
			loads: []*simLoad{func() *simLoad { l := load(0, 10*s, 20*s); l.ctxDone = 14 * s; return l }(), two[1]}, calls: []*simCall{left(call(0, 10*s, 13*s, 0))}, want: "overlap"},
		{name: "a takeover of nothing", loads: []*simLoad{is(load(1, 15*s, 25*s), "takeover")}, want: "takeover"},
		{name: "a takeover of what was forgotten", loads: []*simLoad{two[0], is(load(1, 15*s, 25*s), "takeover")}, forgets: []*simForget{forget(0, 12*s, 13*s)}, want: "takeover"},
		{name: "a takeover in time", loads: []*simLoad{is(load(0, 10*s, 12*s), "killed"), load(1, 16*s, 25*s)}, calls: []*simCall{call(1, 11*s, 25*s, 1)}, faults: []simFault{{"kill", 0, 12 * s, 12 * s, 0}}},
		{name: "a takeover that is late", loads: []*simLoad{is(load(0, 10*s, 12*s), "killed"), load(1, 18*s, 25*s)}, calls: []*simCall{call(1, 11*s, 25*s, 1)}, faults: []simFault{{"kill", 0, 12 * s, 12 * s, 0}}, want: "takeover"},
		{name: "a takeover that is late, where the last caller left", loads: []*simLoad{func() *simLoad { l := is(load(0, 10*s, 12*s), "canceled"); l.ctxDone = 11 * s; return l }(), load(1, 13*s, 25*s)},
			calls: []*simCall{left(call(0, 10*s, 11*s, 0)), call(1, 10*s+s/2, 25*s, 1)}, want: "takeover"},
		{name: "a value", loads: two[:1], calls: []*simCall{call(1, 12*s, 21*s, 0)}},
		{name: "a value of long ago", loads: two[:1], calls: []*simCall{call(1, 29*s, 29*s, 0)}, want: "age"},
		{name: "a value of long ago, of a process that was stopped", loads: two[:1], calls: []*simCall{call(1, 29*s, 29*s, 0)}, faults: []simFault{{"stopped", 1, 20 * s, 25 * s, 0}}},
		{name: "a value before the load has ended", loads: two[:1], calls: []*simCall{call(1, 12*s, 19*s, 0)}, want: "early"},
		{name: "a value of another key", loads: two[:1], calls: []*simCall{{proc: 1, key: "l", begin: 12 * s, end: 21 * s, done: simNever}}, want: "key"},
		{name: "a forgotten value", loads: two[:1], calls: []*simCall{call(1, 14*s, 21*s, 0)}, forgets: []*simForget{forget(1, 12*s, 13*s)}, want: "forgotten"},
		{name: "a value forgotten elsewhere just now", loads: two[:1], calls: []*simCall{call(1, 14*s, 21*s, 0)}, forgets: []*simForget{forget(0, 12*s, 13*s)}},
		{name: "a value forgotten elsewhere some time ago", loads: two[:1], calls: []*simCall{call(1, 18*s, 21*s, 0)}, forgets: []*simForget{forget(0, 12*s, 13*s)}, want: "forgotten"},
		{name: "a value forgotten elsewhere while the process was cut off", loads: two[:1], calls: []*simCall{call(1, 18*s, 21*s, 0)}, forgets: []*simForget{forget(0, 12*s, 13*s)},
			faults: []simFault{{"cut", 1, 12 * s, 16 * s, 0}}},
		{name: "a value forgotten elsewhere long ago, while the process was cut off", loads: []*simLoad{load(0, 10*s, 30*s)}, calls: []*simCall{call(0, 25*s, 30*s, 0)}, forgets: []*simForget{forget(1, 12*s, 13*s)},
			faults: []simFault{{"cut", 0, 11 * s, 30 * s, 0}}, want: "forgotten"},
		{name: "a Forget that failed", loads: two[:1], calls: []*simCall{call(1, 14*s, 21*s, 0)},
			forgets: []*simForget{func() *simForget { f := forget(1, 12*s, 13*s); f.err, f.done = context.Canceled, f.end; return f }()}},
		{name: "a Forget that failed for no reason", forgets: []*simForget{func() *simForget { f := forget(1, 12*s, 13*s); f.err = fleet.ErrUnavailable; return f }()}, want: "outcome"},
		{name: "a failure that is returned as a value", loads: []*simLoad{is(load(0, 10*s, 20*s), "failed")}, calls: []*simCall{call(0, 10*s, 20*s, 0)}, want: "outcome"},
		{name: "a failure", loads: []*simLoad{is(load(0, 10*s, 20*s), "failed")}, calls: []*simCall{failed(call(0, 10*s, 20*s, 0), simError{0})}},
		{name: "another's cancellation", loads: two[:1], calls: []*simCall{failed(call(0, 10*s, 20*s, -1), context.Canceled)}, want: "outcome"},
		{name: "an answer after the context was done", loads: two[:1], calls: []*simCall{{proc: 0, key: "k", begin: 10 * s, end: 20 * s, done: 19 * s}}, want: "late"},
		{name: "no answer", calls: []*simCall{call(0, 10*s, simNever, -1)}, want: "late"},
	} {
		h := &simHistory{calls: test.calls, loads: test.loads, forgets: test.forgets, faults: test.faults, procs: []*simProc{{number: 0}, {number: 1}}}
		var kinds []string
		for _, wrong := range script.check(h).wrong {
			kinds = append(kinds, simKindOf(wrong))
		}
		if kinds = slices.Compact(kinds); test.want == "" && len(kinds) != 0 || test.want != "" && !slices.Equal(kinds, []string{test.want}) {
			t.Errorf("%s: found %q, want %q", test.name, kinds, test.want)
		}
	}
}
