// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

// The simulation.
//
// A run is a script of calls, Forgets and faults in several processes, each a
// Group with a connection of its own to one enginetest.Fake, in a bubble of
// package synctest. The protocol is the real one; loads, the network and the
// store are made up. What happened is recorded, and a checker that knows only
// what the documentation promises looks at it afterwards:
//
//   - Two loads of a key run at once only if a lost lease, a lost record, a
//     Forget, an abandoned load, a value that could not be sent, or an engine
//     that did not answer explains it. Without such a reason no load takes over.
//   - A load that another has superseded is canceled. A load whose process dies
//     is taken over within the lease plus one second, and one whose callers
//     leave at once.
//   - No call gets a value that is older than two leases, nor one from before a
//     Forget that its process knew or had the time to learn of.
//   - Calls and Forgets return when their context is done, and fail only for a
//     reason. No caller gets the cancellation of another.
//   - When all faults are over, goroutines, records and watches are gone, and a
//     call in each process works.
//
// It is run like this, also with -race:
//
//	go test -run '^TestSimulation$' -timeout 0 -v . -sim 10m   # new scripts each time
//	go test -run '^TestSimulation$' -v . -seed 123              # one script again
//
// When something is wrong, actions are taken away for as long as it stays wrong,
// and the small script is printed with what happened in it. A seed determines
// the script and how long each message takes. Where two things happen at one
// instant the scheduler decides, and so 9 of 100 scripts do not have the very
// same history twice; -seed therefore runs a script 20 times.
//
// The simulation can fail. With one of these changes, it says so after as many
// simulated minutes (the median of seven runs), of some 10,400 that pass in 30 s (on
// two cores):
//
//	the engine accepts every write                                             3
//	a lease is not renewed                                                     3
//	a claim that arrives when fn runs already is used all the same           131
//	a load without a claim is joined also when the engine answers            118
//	a load is taken for lost without asking where it has gone                361
//	a superseded load is not canceled until it ends                         1359
//	a load that was forgotten is joined in the process that runs it           54
//	the same, in a process that waits for it                                 289
//	the same, in the process that calls Forget                                56
//	a holder that cannot reach the engine for a lease is joined              385
//	a load whose claim was not answered is joined                             62
//	Forget makes no copy of the load                                          18
//	the copy lives for a whole lease                                          50
//	a result that was there before the call is used                            1
//	a result is not read back when its answer is lost                        461
//	an overdue renewal is not asked for                                      150
//	an expiry without a marker is ignored                                     74
//	the last caller leaves, and the key is not released                       60
//
// What a bubble cannot do: stop the goroutines of one process. While a process
// is stopped here, all that it sends and receives is held up, its calls begin
// and its contexts end only when it goes on, and its loads neither begin nor
// end. But timeouts inside the protocol go on, so that it gives up requests
// that a process that is really stopped would find answered or timed out, in
// either order, when it goes on. The tests of natskv and redis stop real
// processes. There are no panics here either, since one without a caller ends
// the program, no replicas that disagree, and nothing of what a client library
// does by itself.

import (
	"cmp"
	"flag"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	simFor  = flag.Duration("sim", 0, "for how long the simulation runs, with new seeds each time")
	simSeed = flag.Uint64("seed", 0, "the one run of the simulation to make again")
)

// simKinds are what can happen to a process or the store.
var simKinds = []string{
	"requests lost", "requests late", "requests doubled", "answers lost", "answers late", "news lost", "news late", "news doubled", "watches lost",
	"silent", "held up", "stopped", "kill", "cut", "cut, and what is on its way lost",
	"server frozen", "server restarted", "server rolled back", "server wiped", "server clock forward",
}

// newSimScript returns the script of a seed. Each has its own selection of what
// can happen, since one fault hides another.
func newSimScript(seed uint64) *simScript {
	r := rand.New(rand.NewPCG(seed, 0))
	s := &simScript{
		seed:  seed,
		procs: 2 + r.IntN(3),
		gone:  r.IntN(2) == 0,
		lease: []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 10 * time.Second}[r.IntN(4)],
	}
	s.required = r.IntN(8) == 0
	s.linger = []time.Duration{time.Second, time.Second, s.lease, 3 * s.lease}[r.IntN(4)]
	s.timeout = s.lease / time.Duration(4+2*r.IntN(3))
	s.latency = []time.Duration{time.Millisecond, 10 * time.Millisecond, s.lease / 40}[r.IntN(3)]
	if !s.gone {
		s.late = time.Duration(r.IntN(2)) * 900 * time.Millisecond
	}
	s.length = 15 * s.lease

	// up returns a duration up to most leases, short ones as often as long ones.
	up := func(most float64) time.Duration {
		return time.Duration(float64(s.lease) * most * math.Exp(-7*r.Float64()*r.Float64()))
	}
	// add adds an action: at any time, or soon before or after one of the last
	// few, and then for the same key and often in the same process, since that is
	// where things go wrong.
	add := func(a simAction) {
		a.at = time.Duration(r.Int64N(int64(s.length)))
		a.proc, a.key = r.IntN(s.procs), []string{"a", "b", "c", "d"}[r.IntN(4)]
		if n := len(s.actions); n > 0 && r.IntN(6) != 0 {
			other := s.actions[n-1-r.IntN(min(n, 5))]
			switch r.IntN(5) {
			case 0:
				a.at = other.at + time.Duration(r.Int64N(int64(4*s.latency)))
			case 1:
				a.at = other.at - up(0.1)
			case 2:
				a.at = other.at + other.load.dur + up(0.1)
			default:
				a.at = other.at + up(2)
			}
			if a.at < 0 || a.at >= s.length {
				a.at = time.Duration(r.Int64N(int64(s.length)))
			}
			a.key = other.key
			if r.IntN(3) != 0 {
				a.proc = other.proc
			}
		}
		s.actions = append(s.actions, a)
	}
	patient, slow := r.IntN(3) == 0, r.IntN(3) == 0
	call := func() {
		a := simAction{kind: "call", timeout: up(4)}
		a.load.dur = up(1)
		if slow {
			a.load.dur = up(4)
		}
		if patient {
			a.timeout = 20 * s.lease
		}
		a.load.fails, a.load.ignores, a.load.large = r.IntN(8) == 0, r.IntN(5) == 0, r.IntN(30) == 0
		if r.IntN(10) == 0 {
			a.timeout = 0
		}
		add(a)
	}
	kinds := slices.Clone(simKinds)
	r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	kinds = kinds[:r.IntN(5)]
	switch r.IntN(8) {
	case 0:
		kinds = []string{"requests late"}
		s.addLateClaims(r, up)
	case 1:
		kinds = []string{"news lost"}
		s.addHalfNews(r, up)
	case 2:
		kinds = []string{"silent", "cut"}
		s.addCutOff(r, up)
	case 3:
		kinds = []string{"kill"}
		s.addDeath(r, up)
	}
	fault := func() {
		a := simAction{kind: kinds[r.IntN(len(kinds))], dur: up(3*float64(r.IntN(2)) + 0.1)}
		if strings.HasSuffix(a.kind, "late") || a.kind == "server rolled back" {
			a.late = up(2)
			if r.IntN(2) == 0 { // so that the caller has just given up
				a.late = s.timeout + up(1)
			}
		}
		if a.kind == "server clock forward" {
			a.late = up(3)
		}
		if strings.HasSuffix(a.kind, "lost") || strings.HasSuffix(a.kind, "late") {
			a.every = []int{0, 0, 2, 3}[r.IntN(4)]
		}
		add(a)
	}
	calls, forgets, faults := 5+r.IntN(60), r.IntN(2)*r.IntN(12), min(1, len(kinds))*r.IntN(10)
	for calls+forgets+faults > 0 {
		switch n := r.IntN(calls + forgets + faults); {
		case n < calls:
			calls--
			call()
		case n < calls+forgets:
			forgets--
			add(simAction{kind: "forget", timeout: max(up(3), time.Millisecond)})
		default:
			faults--
			fault()
		}
	}
	slices.SortStableFunc(s.actions, func(a, b simAction) int { return cmp.Compare(a.at, b.at) })
	for i := range s.actions[1:] { // at one instant, any order could be meant
		s.actions[i+1].at = max(s.actions[i+1].at, s.actions[i].at+1)
	}
	return s
}

// addLateClaims adds what chance brings together only now and then: a claim
// that is late, a Forget meanwhile, and a call.
func (s *simScript) addLateClaims(r *rand.Rand, up func(float64) time.Duration) {
	for range 1 + r.IntN(4) {
		at, key := time.Duration(r.Int64N(int64(s.length-4*s.lease))), fmt.Sprint(r.IntN(10))
		p := r.IntN(s.procs)
		q := (p + 1 + r.IntN(s.procs-1)) % s.procs
		late := simAction{at: at, kind: "requests late", proc: p, dur: up(0.2), late: s.timeout + up(1.5)}
		claim := simAction{at: at + late.dur - up(0.1), kind: "call", key: key, proc: p, timeout: 20 * s.lease}
		claim.at, claim.load.dur = max(0, claim.at), s.timeout+up(3)
		forget := simAction{at: at + s.timeout + up(1), kind: "forget", key: key, proc: q, timeout: s.lease}
		after := simAction{at: forget.at + up(1), kind: "call", key: key, proc: q, timeout: 20 * s.lease}
		s.actions = append(s.actions, late, claim, forget, after)
	}
}

// addCutOff adds a load in a process that is or will be cut off for a while, a
// Forget elsewhere, and a call in that process while the load still runs.
func (s *simScript) addCutOff(r *rand.Rand, up func(float64) time.Duration) {
	for range 1 + r.IntN(3) {
		at, key := time.Duration(r.Int64N(int64(s.length-6*s.lease))), fmt.Sprint(r.IntN(10))
		p := r.IntN(s.procs)
		q := (p + 1 + r.IntN(s.procs-1)) % s.procs
		cut := simAction{at: at, kind: []string{"silent", "cut", "held up"}[r.IntN(3)], proc: p, dur: up(6)}
		loads := simAction{at: at + up(0.1), kind: "call", key: key, proc: p, timeout: 20 * s.lease}
		if r.IntN(2) == 0 {
			loads.at = max(0, at-up(1)) // so that it loses its lease
		}
		loads.load.dur = cut.dur + 3*s.lease + up(4)
		forget := simAction{at: at + cut.dur + up(1), kind: "forget", key: key, proc: q, timeout: s.lease}
		if r.IntN(2) == 0 {
			forget.at = at + up(1)
		}
		after := simAction{at: forget.at + up(4), kind: "call", key: key, proc: p, timeout: 20 * s.lease}
		s.actions = append(s.actions, cut, loads, forget, after)
	}
}

// addDeath adds a load that another process waits for, the end of its process,
// and a Forget.
func (s *simScript) addDeath(r *rand.Rand, up func(float64) time.Duration) {
	for range 1 + r.IntN(3) {
		at, key := time.Duration(r.Int64N(int64(s.length-6*s.lease))), fmt.Sprint(r.IntN(10))
		p := r.IntN(s.procs)
		q := (p + 1 + r.IntN(s.procs-1)) % s.procs
		loads := simAction{at: at, kind: "call", key: key, proc: p, timeout: 20 * s.lease}
		loads.load.dur = 20 * s.lease
		waits := simAction{at: at + up(1), kind: "call", key: key, proc: q, timeout: 20 * s.lease}
		death := simAction{at: waits.at + 10*s.latency + up(2), kind: []string{"kill", "stopped"}[r.IntN(2)], proc: p, dur: 5 * s.lease}
		forget := simAction{at: death.at + up(1), kind: "forget", key: key, proc: q, timeout: s.lease}
		s.actions = append(s.actions, loads, waits, death, forget)
	}
}

// addHalfNews adds a load that another process waits for, and a Forget of which
// that gets half the news.
func (s *simScript) addHalfNews(r *rand.Rand, up func(float64) time.Duration) {
	for range 1 + r.IntN(4) {
		at, key := time.Duration(r.Int64N(int64(s.length-4*s.lease))), fmt.Sprint(r.IntN(10))
		p := r.IntN(s.procs)
		q := (p + 1 + r.IntN(s.procs-1)) % s.procs
		loads := simAction{at: at, kind: "call", key: key, proc: p, timeout: 20 * s.lease}
		loads.load.dur = up(2) + 20*s.latency
		waits := simAction{at: at + 10*s.latency, kind: "call", key: key, proc: q, timeout: 20 * s.lease}
		forget := simAction{at: at + 20*s.latency + up(1), kind: "forget", key: key, proc: r.IntN(s.procs), timeout: s.lease}
		half := simAction{at: forget.at - up(0.2), kind: "news lost", proc: q, dur: up(1), every: 1 + r.IntN(3)}
		half.at = max(0, half.at)
		if r.IntN(2) == 0 { // or only the first of it
			half.dur, half.every = forget.at-half.at+time.Duration(r.Int64N(int64(10*s.latency))), 0
		}
		s.actions = append(s.actions, loads, waits, forget, half)
	}
}

func (s *simScript) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d: %d processes, lease %v, linger %v, timeout %v, latency %v, late %v, gone %v, required %v\n",
		s.seed, s.procs, s.lease, s.linger, s.timeout, s.latency, s.late, s.gone, s.required)
	for _, a := range s.actions {
		fmt.Fprintln(&b, "\t", a)
	}
	return b.String()
}

// simKindOf returns of which kind something wrong is.
func simKindOf(wrong string) string {
	kind, _, _ := strings.Cut(wrong, ":")
	return kind
}

// runs runs a script a few times, since goroutines may take turns in another
// order each time, and returns what is wrong.
func (s *simScript) runs(t *testing.T, times int) (wrong []string, h simHistory) {
	for range times {
		h = simulate(t, s)
		if wrong = s.check(&h).wrong; len(wrong) > 0 {
			break
		}
	}
	return wrong, h
}

// shrink returns a script with as few actions as possible in which something of
// the same kind is wrong.
func (s *simScript) shrink(t *testing.T, kind string) *simScript {
	small := *s
	for size := len(small.actions) / 2; size > 0; size /= 2 {
		for i := 0; i < len(small.actions); {
			less := small
			less.actions = slices.Delete(slices.Clone(small.actions), i, min(i+size, len(small.actions)))
			wrong, _ := less.runs(t, 3)
			if slices.ContainsFunc(wrong, func(w string) bool { return simKindOf(w) == kind }) {
				small = less
			} else {
				i += size
			}
		}
	}
	return &small
}

// report prints what is wrong, and the small script.
func (s *simScript) report(t *testing.T, wrong []string) {
	t.Helper()
	small := s.shrink(t, simKindOf(wrong[0]))
	smallWrong, h := small.runs(t, 20)
	t.Errorf("seed %d:\n%s\nmade small: %v\n%s\n%s", s.seed, strings.Join(wrong, "\n"), strings.Join(smallWrong, "\n"), small, &h)
}

func (h *simHistory) String() string {
	var b strings.Builder
	for i, c := range h.calls {
		fmt.Fprintf(&b, "call %d of %s in process %d: %v to %v (context %v): load %d, %v\n", i, c.key, c.proc, c.begin, c.end, c.done, c.load, c.err)
	}
	for i, l := range h.loads {
		fmt.Fprintf(&b, "load %d of %s in process %d: %v to %v (context %v): %s, fallback %v, takeover %v\n", i, l.key, l.proc, l.begin, l.end, l.ctxDone, l.how, l.fallback, l.takeover)
	}
	for i, f := range h.forgets {
		fmt.Fprintf(&b, "Forget %d of %s in process %d: %v to %v: %v\n", i, f.key, f.proc, f.begin, f.end, f.err)
	}
	for _, f := range h.faults {
		fmt.Fprintf(&b, "fault %+v\n", f)
	}
	return b.String()
}

// withoutLog discards the warnings of Groups.
func withoutLog(t *testing.T) {
	log := slog.Default()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { slog.SetDefault(log) })
}

func TestSimulation(t *testing.T) {
	withoutLog(t)
	if *simSeed != 0 {
		s := newSimScript(*simSeed)
		wrong, h := s.runs(t, 20)
		t.Logf("%s\n%s", s, &h)
		if len(wrong) > 0 {
			s.report(t, wrong)
		}
		return
	}
	seed, limit := uint64(0), 30*time.Second
	switch {
	case *simFor != 0:
		seed, limit = uint64(time.Now().UnixNano()), *simFor
	case testing.Short():
		limit = 2 * time.Second
	}
	var total simTotal
	for end := time.Now().Add(limit); time.Now().Before(end) && !t.Failed(); {
		seed++
		s := newSimScript(seed)
		h := simulate(t, s)
		c := s.check(&h)
		total.add(c)
		if len(c.wrong) > 0 {
			s.report(t, c.wrong)
		}
	}
	t.Logf("%v", &total)
}

// An engine that accepts every write is found out, with a small script.
func TestSimulationFindsUncheckedWrites(t *testing.T) {
	withoutLog(t)
	const enough = 100
	for seed := range uint64(enough) {
		s := newSimScript(seed + 1)
		s.unchecked = true
		wrong, _ := s.runs(t, 1)
		if !slices.ContainsFunc(wrong, func(w string) bool { return simKindOf(w) == "overlap" }) {
			continue
		}
		small := s.shrink(t, "overlap")
		if n := len(small.actions); n > 5 {
			t.Errorf("the small script has %d actions, want 5 at most:\n%s", n, small)
		}
		small.unchecked = false
		if wrong, _ := small.runs(t, 1); len(wrong) != 0 {
			t.Errorf("with an engine that checks: %q, want nothing", wrong)
		}
		return
	}
	t.Errorf("nothing is wrong in %d runs with an engine that accepts every write", enough)
}

// A simTotal is what a number of runs consisted of.
type simTotal struct {
	runs, calls, loads, forgets, faults int
	time                                time.Duration
	oldest                              float64
}

func (total *simTotal) add(c *simChecker) {
	total.runs++
	total.time += c.h.end
	total.calls += len(c.h.calls)
	total.loads += len(c.h.loads)
	total.forgets += len(c.h.forgets)
	total.faults += len(c.h.faults)
	total.oldest = max(total.oldest, c.oldest)
}

func (total *simTotal) String() string {
	return fmt.Sprintf("%d runs, %.0f simulated minutes: %d calls, %d loads, %d Forgets, %d faults; the oldest value was of a load that had ended %.2f leases before the call",
		total.runs, total.time.Minutes(), total.calls, total.loads, total.forgets, total.faults, total.oldest)
}
