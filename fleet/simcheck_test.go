// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"example.com/singleflight/fleet"
)

// A simChecker looks for what is wrong in a history. It knows nothing of the
// protocol but what the documentation promises.
type simChecker struct {
	s     *simScript
	h     *simHistory
	wrong []string

	rtt time.Duration // more than a request and its answer take on a good line
}

// check returns what is wrong, a line each. What is before the first colon says
// of which kind it is.
func (s *simScript) check(h *simHistory) []string {
	c := &simChecker{s: s, h: h, wrong: slices.Clone(h.wrong), rtt: 4 * s.latency}
	c.overlaps()
	c.withoutLeave()
	c.values()
	c.forgets()
	c.ends()
	return c.wrong
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
	return slices.ContainsFunc(c.h.forgets, func(f *simForget) bool {
		end := f.end
		if f.err != nil || f.killed {
			end = simNever // what it has sent may arrive at any time
		}
		return f.key == l.key && end >= l.begin && f.begin <= t
	})
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
	for j, y := range c.h.loads {
		if y.takeover && !c.somethingWasLost(y) {
			c.wrongf("takeover: load %d in process %d at %v took over, but no load was lost", j, y.proc, y.begin)
		}
	}
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
			c.wrongf("leave: load %d began without the engine, which is required", i)
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
		if age -= c.stoppedFor(call.proc, l.end, call.begin); age > c.bound() {
			c.wrongf("age: %s: it ended %v before the call, want %v at most", name, call.begin-l.end, c.bound())
		}
	}
	for j, f := range c.h.forgets {
		if f.err != nil || f.killed || f.end == simNever || f.key != call.key || f.end >= call.begin || f.begin <= l.begin || c.storeLost(f.begin, call.end) {
			continue
		}
		since := call.begin - max(f.end, c.reach(call.proc, call.begin))
		limit := c.s.lease*3/4 + c.s.timeout + c.rtt
		if call.proc == f.proc || since > limit {
			c.wrongf("forgotten: %s; Forget %d in process %d from %v to %v comes between, and was known for %v", name, j, f.proc, f.begin, f.end, since)
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
