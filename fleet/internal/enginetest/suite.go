// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package enginetest tests engines: a suite that every engine has to pass, and
// an engine in memory whose faults a test controls.
package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight/fleet/internal/engine"
)

// A Store is what the suite needs of the engine under test: connections to a
// store that is empty and belongs to one subtest. Connect is needed, the rest
// is optional.
type Store struct {
	// Connect returns an engine on a connection of its own, as another process
	// would have, and its Close. Close is called once.
	Connect func(t testing.TB) (e engine.Engine, close func())

	// Oversize is a length of Data that the store refuses as too large.
	Oversize int

	// Watches returns how many watches the store has at present.
	Watches func() int

	// Stop stops the server. The returned start starts it again, with the
	// records that it had and at the same address.
	Stop func(t testing.TB) (start func())

	// Freeze makes the server silent while its connections stay. The returned
	// thaw ends that.
	Freeze func(t testing.TB) (thaw func())

	// Slack is how much later than promised something may be noticed, since the
	// machine may be busy. The default is 5 s, and none in a bubble.
	Slack time.Duration
}

// Run runs the suite in real time, all subtests at once. The function open
// makes the store of a subtest; stores may share a server.
func Run(t *testing.T, open func(testing.TB) Store) { run(t, tests, open, inParallel) }

// RunFaults runs the part of the suite that stops and freezes the server, which
// must belong to the one store that open makes. What the store cannot do is
// skipped.
func RunFaults(t *testing.T, open func(testing.TB) Store) { run(t, faultTests, open, inParallel) }

// RunInBubbles runs both parts of the suite, each subtest in a bubble of package
// synctest. The function open is called in the bubble.
func RunInBubbles(t *testing.T, open func(testing.TB) Store) {
	run(t, tests, open, synctest.Test)
	run(t, faultTests, open, synctest.Test)
}

func inParallel(t *testing.T, f func(*testing.T)) {
	t.Parallel()
	f(t)
}

func run(t *testing.T, tests []test, open func(testing.TB) Store, in func(*testing.T, func(*testing.T))) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			in(t, func(t *testing.T) { test.on(t, open(t)) })
		})
	}
}

// A test checks one statement in the documentation of package engine.
type test struct {
	name string
	f    func(*suite)
}

func (test test) on(t testing.TB, store Store) {
	if store.Slack == 0 && !inBubble() {
		store.Slack = 5 * time.Second
	}
	s := &suite{TB: t, Store: store}
	s.c = s.connect()
	test.f(s)
}

// inBubble reports whether the clock is that of a bubble, which begins in 2000.
func inBubble() bool { return time.Now().Year() < 2020 }

var tests = []test{
	{"Create", (*suite).create},
	{"Replace", (*suite).replace},
	{"Taken", (*suite).taken},
	{"AnyData", (*suite).anyData},
	{"DataIsCopied", (*suite).dataIsCopied},
	{"Absent", (*suite).absent},
	{"PartsAreIndependent", (*suite).partsAreIndependent},
	{"RevisionsRiseAcrossReleases", (*suite).revisionsRiseAcrossReleases},
	{"RevisionsRiseAcrossExpiries", (*suite).revisionsRiseAcrossExpiries},
	{"RevisionsRiseAcrossQuietExpiries", (*suite).revisionsRiseAcrossQuietExpiries},
	{"ReleaseLeavesMarker", (*suite).releaseLeavesMarker},
	{"ReleaseOfNothingLeavesMarker", (*suite).releaseOfNothingLeavesMarker},
	{"MarkerExpires", (*suite).markerExpires},
	{"Time", (*suite).time},
	{"TTL", (*suite).ttl},
	{"TTLOfQuietRecord", (*suite).ttlOfQuietRecord},
	{"TTLOfSeveralUnits", (*suite).ttlOfSeveralUnits},
	{"LongerTTLReplacesShorter", (*suite).longerTTL},
	{"ShorterTTLReplacesLonger", (*suite).shorterTTL},
	{"LongestTTL", (*suite).longestTTL},
	{"ExpiryIsAnnounced", (*suite).expiryIsAnnounced},
	{"QuietExpiryIsNotAnnounced", (*suite).quietExpiryIsNotAnnounced},
	{"ReplacedRecordDoesNotExpire", (*suite).replacedRecordDoesNotExpire},
	{"LatestReflectsEveryWrite", (*suite).latestReflectsEveryWrite},
	{"WatchBeginsWithWhatIsStored", (*suite).watchBeginsWithWhatIsStored},
	{"WatchOfNothing", (*suite).watchOfNothing},
	{"WatchChangesInOrder", (*suite).watchChangesInOrder},
	{"WatchMissesNothingAtTheBeginning", (*suite).watchMissesNothing},
	{"WatchIsCoalescedAtMost", (*suite).watchCoalesced},
	{"WatchEndsWithContext", (*suite).watchEndsWithContext},
	{"WatchWithDoneContext", (*suite).watchWithDoneContext},
	{"WatchThatNobodyReceives", (*suite).watchThatNobodyReceives},
	{"ManyWatches", (*suite).manyWatches},
	{"AnyKey", (*suite).anyKey},
	{"AnyPart", (*suite).anyPart},
	{"DoneContext", (*suite).doneContext},
	{"TooLarge", (*suite).tooLarge},
	{"OneWriterWins", (*suite).oneWriterWins},
	{"Close", (*suite).close},
	{"CloseEndsWatches", (*suite).closeEndsWatches},
	{"CloseIsForOneConnection", (*suite).closeIsForOneConnection},
	{"LimitsAndString", (*suite).limitsAndString},
}

var faultTests = []test{
	{"Freeze", (*suite).freeze},
	{"FreezeAWatch", (*suite).freezeAWatch},
	{"StopAndStart", (*suite).stopAndStart},
	{"StopAndStartWithAWatch", (*suite).stopAndStartWithAWatch},
	{"ExpiryWhileStopped", (*suite).expiryWhileStopped},
	{"CloseWhileStopped", (*suite).closeWhileStopped},
}

// A suite is one test in progress.
type suite struct {
	testing.TB
	Store
	c *conn // the first connection
}

// A conn is an engine and its Close.
type conn struct {
	engine.Engine
	close func()
}

func (s *suite) connect() *conn {
	e, closeEngine := s.Connect(s)
	c := &conn{e, sync.OnceFunc(closeEngine)}
	s.Cleanup(c.close)
	return c
}

// patience is how long tests wait for what must happen, on a busy machine.
const patience = 30 * time.Second

// until waits for what an engine does on its own.
func (s *suite) until(what string, cond func() bool) {
	s.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("waited %v for %s", patience, what)
		}
	}
}

func (s *suite) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.Context(), patience)
}

// unit is the shortest time to live that the tests use.
func (s *suite) unit() time.Duration {
	return max(s.c.Limits().Granularity, 300*time.Millisecond)
}

// long outlives every test.
const long = 10 * time.Minute

func (s *suite) write(c *conn, name engine.Name, put engine.Put) (uint64, error) {
	if put.TTL == 0 {
		put.TTL = long
		if most := c.Limits().MaxTTL; most != 0 {
			put.TTL = min(long, most)
		}
	}
	ctx, cancel := s.context()
	defer cancel()
	return c.Write(ctx, name, put)
}

// put writes what has to succeed.
func (s *suite) put(c *conn, name engine.Name, put engine.Put) uint64 {
	s.Helper()
	rev, err := s.write(c, name, put)
	if err != nil {
		s.Fatalf("Write(%.40q, expecting %d): %v", name, put.Expect, err)
	}
	if rev == 0 {
		s.Fatalf("Write(%.40q) returned revision 0, want one above", name)
	}
	return rev
}

// refused writes what has to fail with ErrTaken.
func (s *suite) refused(c *conn, name engine.Name, put engine.Put) {
	s.Helper()
	if rev, err := s.write(c, name, put); !errors.Is(err, engine.ErrTaken) {
		s.Errorf("Write(%.40q, expecting %d) = %d, %v, want ErrTaken", name, put.Expect, rev, err)
	}
}

func (s *suite) latest(c *conn, name engine.Name) engine.Entry {
	s.Helper()
	ctx, cancel := s.context()
	defer cancel()
	e, err := c.Latest(ctx, name)
	if err != nil {
		s.Fatalf("Latest(%.40q): %v", name, err)
	}
	s.wellFormed(e)
	if e.Part != name.Part {
		s.Errorf("Latest(%.40q) returned part %q", name, e.Part)
	}
	return e
}

// wellFormed checks what holds for every Entry.
func (s *suite) wellFormed(e engine.Entry) {
	s.Helper()
	switch {
	case e.Gone && (len(e.Data) != 0 || !e.Time.IsZero()):
		s.Errorf("%v is Gone, want no data and no time", show(e))
	case !e.Gone && (e.Rev == 0 || e.Time.IsZero()):
		s.Errorf("%v is not Gone, want a revision and a time", show(e))
	}
}

func show(e engine.Entry) string {
	return fmt.Sprintf("{%s rev %d data %.20q time %v gone %v}", e.Part, e.Rev, e.Data, e.Time, e.Gone)
}

// want checks a record or, if data is empty, a marker.
func (s *suite) want(what string, e engine.Entry, rev uint64, data string) {
	s.Helper()
	if e.Rev != rev || string(e.Data) != data || e.Gone {
		s.Errorf("%s: %v, want revision %d with %.20q", what, show(e), rev, data)
	}
}

// expect is the revision that the next write expects.
func expect(e engine.Entry) uint64 {
	if e.Gone {
		return 0
	}
	return e.Rev
}

// watch begins a watch that ends with the test.
func (s *suite) watch(c *conn, key string) <-chan engine.Entry {
	ctx, cancel := context.WithCancel(s.Context())
	ch := c.Watch(ctx, key)
	s.Cleanup(func() {
		cancel()
		for range ch {
		}
	})
	return ch
}

// next receives the next record from a watch.
func (s *suite) next(what string, ch <-chan engine.Entry) engine.Entry {
	s.Helper()
	e := s.receive(what, ch)
	if e.Part == "" { // the watch has sent all that is stored
		e = s.receive(what, ch)
	}
	s.wellFormed(e)
	return e
}

// all checks that a watch has sent all that is stored, and says so.
func (s *suite) all(what string, ch <-chan engine.Entry) {
	s.Helper()
	if e := s.receive(what, ch); e.Part != "" || e.Rev != 0 || e.Data != nil || e.Gone {
		s.Errorf("%s: received %v, want the Entry that ends what is stored", what, show(e))
	}
}

func (s *suite) receive(what string, ch <-chan engine.Entry) engine.Entry {
	s.Helper()
	select {
	case e, open := <-ch:
		if !open {
			s.Fatalf("%s: the watch is lost", what)
		}
		return e
	case <-time.After(patience):
		s.Fatalf("%s: no news within %v", what, patience)
	}
	panic("unreachable")
}

// none checks that nothing is received for a while.
func (s *suite) none(what string, ch <-chan engine.Entry, d time.Duration) {
	s.Helper()
	after := time.After(d)
	for {
		select {
		case e, open := <-ch:
			if open && e.Part == "" { // the watch has sent all that is stored
				continue
			}
			s.Errorf("%s: received %v, open %v, want nothing", what, show(e), open)
			return
		case <-after:
			return
		}
	}
}

// closed waits until a channel is closed, and discards what comes before.
func closed[T any](s *suite, what string, ch <-chan T) {
	s.Helper()
	late := time.After(patience)
	for {
		select {
		case _, open := <-ch:
			if !open {
				return
			}
		case <-late:
			s.Fatalf("%s is not closed after %v", what, patience)
		}
	}
}

// expired waits until the record of revision rev under name has expired, and
// checks that this is not too early, nor too late. It was written between
// began and now.
func (s *suite) expired(name engine.Name, rev uint64, began time.Time, ttl time.Duration) {
	s.Helper()
	written := time.Now()
	for {
		asked := time.Now()
		e := s.latest(s.c, name)
		if !e.Gone && e.Rev == rev {
			if d := asked.Sub(written); d > ttl+time.Second+s.Slack {
				s.Fatalf("a record is there %v after it was written, want at most the TTL of %v and a second", d, ttl)
			}
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if d := time.Since(began); d < ttl {
			s.Errorf("a record is %v after at most %v, want the TTL of %v", show(e), d, ttl)
		}
		return
	}
}

// claim writes over what an expiry has left: nothing, or a marker, which may
// expire between the question and the write.
func (s *suite) claim(put engine.Put) (rev uint64) {
	s.Helper()
	s.until("a claim of what an expiry left", func() bool {
		put.Expect = expect(s.latest(s.c, k))
		var err error
		rev, err = s.write(s.c, k, put)
		return err == nil
	})
	return rev
}

var k = engine.Name{Key: "k", Part: "current"}

func (s *suite) create() {
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	s.want("Latest after a Write", s.latest(s.c, k), rev, "a")
	s.want("Latest on another connection", s.latest(s.connect(), k), rev, "a")
}

func (s *suite) replace() {
	last := uint64(0)
	other := s.connect()
	for i, c := range []*conn{s.c, s.c, other, s.c, other} {
		data := fmt.Sprint(i)
		rev := s.put(c, k, engine.Put{Expect: last, Data: []byte(data)})
		if rev <= last {
			s.Errorf("revision %d replaced %d, want a higher one", rev, last)
		}
		s.want("Latest", s.latest(s.c, k), rev, data)
		last = rev
	}
}

func (s *suite) taken() {
	s.refused(s.c, k, engine.Put{Expect: 1, Data: []byte("over nothing")})
	if e := s.latest(s.c, k); !e.Gone {
		s.Errorf("after a Write that was refused: %v, want nothing", show(e))
	}
	first := s.put(s.c, k, engine.Put{Data: []byte("a")})
	rev := s.put(s.c, k, engine.Put{Expect: first, Data: []byte("b")})
	for _, wrong := range []uint64{0, first, rev - 1, rev + 1, rev + 1000} {
		s.refused(s.c, k, engine.Put{Expect: wrong, Data: []byte("c")})
		s.refused(s.c, k, engine.Put{Expect: wrong})                    // a release
		s.refused(s.c, k, engine.Put{Expect: wrong, Data: []byte("b")}) // what is there already
	}
	s.want("after Writes that were refused", s.latest(s.c, k), rev, "b")
	s.put(s.c, k, engine.Put{Expect: rev, Data: []byte("d")})
}

func (s *suite) anyData() {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	rev := uint64(0)
	ch := s.watch(s.c, k.Key)
	for _, data := range []string{" ", "\x00", "\r\n", "0", "nil", string(all), "\xff\xfe", strings.Repeat("long\n", 10_000), "{}"} {
		rev = s.put(s.c, k, engine.Put{Expect: rev, Data: []byte(data)})
		s.want("Latest", s.latest(s.c, k), rev, data)
		s.want("Watch", s.next("a record", ch), rev, data)
	}
}

func (s *suite) dataIsCopied() {
	data := []byte("abc")
	rev := s.put(s.c, k, engine.Put{Data: data})
	data[0] = 'x'
	s.want("after the data was changed", s.latest(s.c, k), rev, "abc")
	s.latest(s.c, k).Data[0] = 'x'
	s.want("after the answer was changed", s.latest(s.c, k), rev, "abc")
}

func (s *suite) absent() {
	if e := s.latest(s.c, k); !e.Gone || e.Rev != 0 {
		s.Errorf("Latest of what was never written: %v, want Gone and no revision", show(e))
	}
}

func (s *suite) partsAreIndependent() {
	a, b, other := engine.Name{Key: "k", Part: "a"}, engine.Name{Key: "k", Part: "b"}, engine.Name{Key: "l", Part: "a"}
	ra := s.put(s.c, a, engine.Put{Data: []byte("a")})
	rb := s.put(s.c, b, engine.Put{Data: []byte("b")})
	ro := s.put(s.c, other, engine.Put{Data: []byte("o")})
	rb = s.put(s.c, b, engine.Put{Expect: rb})
	s.want("a part", s.latest(s.c, a), ra, "a")
	s.want("the released part", s.latest(s.c, b), rb, "")
	s.want("the other key", s.latest(s.c, other), ro, "o")
	s.put(s.c, a, engine.Put{Expect: ra, Data: []byte("a2")})
}

func (s *suite) revisionsRiseAcrossReleases() {
	last := uint64(0)
	for range 5 {
		for _, data := range [][]byte{[]byte("a"), nil, []byte("b"), {}} {
			rev := s.put(s.c, k, engine.Put{Expect: last, Data: data})
			if rev <= last {
				s.Errorf("revision %d after %d, want a higher one", rev, last)
			}
			last = rev
		}
	}
}

func (s *suite) revisionsRiseAcrossExpiries() { s.revisionsRise(false) }

func (s *suite) revisionsRiseAcrossQuietExpiries() { s.revisionsRise(true) }

func (s *suite) revisionsRise(quiet bool) {
	last := uint64(0)
	for range 2 {
		there := s.latest(s.c, k)
		if there.Rev != 0 && there.Rev < last {
			s.Errorf("%v after revision %d, want a higher one", show(there), last)
		}
		last = max(last, there.Rev)
		began := time.Now()
		rev := s.claim(engine.Put{Data: []byte("a"), TTL: s.unit(), Quiet: quiet})
		if rev <= last {
			s.Errorf("revision %d after %d, want a higher one", rev, last)
		}
		last = rev
		s.expired(k, rev, began, s.unit())
	}
}

func (s *suite) releaseLeavesMarker() {
	ch := s.watch(s.c, k.Key)
	for _, none := range [][]byte{nil, {}} {
		rev := s.put(s.c, k, engine.Put{Expect: expect(s.latest(s.c, k)), Data: []byte("a")})
		s.want("Watch", s.next("a record", ch), rev, "a")
		marker := s.put(s.c, k, engine.Put{Expect: rev, Data: none})
		if marker <= rev {
			s.Errorf("the marker has revision %d, the record had %d, want a higher one", marker, rev)
		}
		s.want("Latest", s.latest(s.c, k), marker, "")
		s.want("Watch", s.next("a marker", ch), marker, "")
		s.refused(s.c, k, engine.Put{Expect: 0, Data: []byte("b")})
		s.refused(s.c, k, engine.Put{Expect: rev, Data: []byte("b")})
	}
}

func (s *suite) releaseOfNothingLeavesMarker() {
	marker := s.put(s.c, k, engine.Put{})
	s.want("Latest", s.latest(s.c, k), marker, "")
	s.refused(s.c, k, engine.Put{Data: []byte("a")})
	again := s.put(s.c, k, engine.Put{Expect: marker}) // a marker over a marker
	s.want("Latest", s.latest(s.c, k), again, "")
}

func (s *suite) markerExpires() {
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	began := time.Now()
	marker := s.put(s.c, k, engine.Put{Expect: rev, TTL: s.unit()})
	s.expired(k, marker, began, s.unit())
	s.until("the marker and what its expiry leaves to be gone", func() bool { return s.latest(s.c, k).Gone })
	s.refused(s.c, k, engine.Put{Expect: marker, Data: []byte("b")})
	s.put(s.c, k, engine.Put{Data: []byte("b")})
}

func (s *suite) time() {
	var last time.Time
	rev := uint64(0)
	for range 3 {
		rev = s.put(s.c, k, engine.Put{Expect: rev, Data: []byte("a")})
		e := s.latest(s.c, k)
		if !e.Time.After(last) {
			s.Errorf("written at %v after what was written at %v", e.Time, last)
		}
		last = e.Time
		time.Sleep(50 * time.Millisecond)
		if again := s.latest(s.c, k).Time; !again.Equal(last) {
			s.Errorf("written at %v, and asked again, at %v", last, again)
		}
	}
}

func (s *suite) ttl()               { s.lives(engine.Put{TTL: s.unit()}) }
func (s *suite) ttlOfQuietRecord()  { s.lives(engine.Put{TTL: s.unit(), Quiet: true}) }
func (s *suite) ttlOfSeveralUnits() { s.lives(engine.Put{TTL: 2*s.unit() + s.c.Limits().Granularity}) }

func (s *suite) lives(put engine.Put) {
	put.Data = []byte("a")
	began := time.Now()
	rev := s.put(s.c, k, put)
	s.expired(k, rev, began, put.TTL)
	e := s.latest(s.c, k)
	if len(e.Data) != 0 || put.Quiet && !e.Gone {
		s.Errorf("after the expiry of a record (quiet %v): %v", put.Quiet, show(e))
	}
	s.refused(s.c, k, engine.Put{Expect: rev, Data: []byte("b")})
	s.claim(engine.Put{Data: []byte("b")})
}

func (s *suite) longerTTL() {
	rev := s.put(s.c, k, engine.Put{Data: []byte("a"), TTL: 3 * s.unit()})
	began := time.Now()
	rev = s.put(s.c, k, engine.Put{Expect: rev, Data: []byte("b"), TTL: 5 * s.unit()})
	s.expired(k, rev, began, 5*s.unit())
}

func (s *suite) shorterTTL() {
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	began := time.Now()
	rev = s.put(s.c, k, engine.Put{Expect: rev, Data: []byte("b"), TTL: s.unit()})
	s.expired(k, rev, began, s.unit())
}

func (s *suite) longestTTL() {
	most := s.c.Limits().MaxTTL
	if most == 0 {
		most = 365 * 24 * time.Hour
	}
	rev := s.put(s.c, k, engine.Put{Data: []byte("a"), TTL: most})
	s.want("Latest", s.latest(s.c, k), rev, "a")
}

// The news of an expiry says which revision is over, by its own or by a
// higher one of a marker.
func (s *suite) expiryIsAnnounced() {
	watches := []<-chan engine.Entry{s.watch(s.c, k.Key), s.watch(s.connect(), k.Key)}
	began := time.Now()
	rev := s.put(s.c, k, engine.Put{Data: []byte("a"), TTL: s.unit()})
	written := time.Now()
	// One that begins when the record is there hears of its end too.
	watches = append(watches, s.watch(s.connect(), k.Key))
	for i, ch := range watches {
		what := fmt.Sprintf("watch %d", i)
		e := s.next(what, ch)
		s.want(what, e, rev, "a")
		for !e.Gone && e.Rev == rev && len(e.Data) > 0 { // an engine may repeat what it read
			e = s.next(what+": the expiry", ch)
		}
		if len(e.Data) != 0 || e.Rev < rev || e.Rev == rev && !e.Gone {
			s.Errorf("%s: the expiry of revision %d: %v, want it Gone or a marker with a higher one", what, rev, show(e))
		}
		if d := time.Since(began); d < s.unit() {
			s.Errorf("%s: the news of the expiry came after %v, want the TTL of %v", what, d, s.unit())
		}
		if d := time.Since(written); d > s.unit()+time.Second+s.Slack {
			s.Errorf("%s: the news of the expiry came after %v, want the TTL of %v and a second", what, d, s.unit())
		}
		there := s.latest(s.c, k)
		if len(there.Data) != 0 {
			s.Errorf("%s: after the news of the expiry: %v", what, show(there))
		}
	}
	s.claim(engine.Put{Data: []byte("b")})
}

func (s *suite) quietExpiryIsNotAnnounced() {
	ch := s.watch(s.connect(), k.Key)
	began := time.Now()
	rev := s.put(s.c, k, engine.Put{Data: []byte("a"), TTL: s.unit(), Quiet: true})
	s.want("Watch", s.next("a record", ch), rev, "a")
	s.expired(k, rev, began, s.unit())
	if e := s.latest(s.c, k); !e.Gone {
		s.Errorf("after a quiet expiry: %v, want nothing", show(e))
	}
	s.none("after a quiet expiry", ch, 1500*time.Millisecond)
	again := s.put(s.c, k, engine.Put{Data: []byte("b")})
	s.want("Watch", s.next("the next record", ch), again, "b")
}

// Neither the expiry of a record that was replaced comes later, nor the news
// of it.
func (s *suite) replacedRecordDoesNotExpire() {
	ch := s.watch(s.connect(), k.Key)
	first := s.put(s.c, k, engine.Put{Data: []byte("a"), TTL: 3 * s.unit()})
	s.want("Watch", s.next("a record", ch), first, "a")
	rev := s.put(s.c, k, engine.Put{Expect: first, Data: []byte("b")})
	s.want("Watch", s.next("its successor", ch), rev, "b")
	s.none("a record that was replaced", ch, 3*s.unit()+1500*time.Millisecond)
	s.want("Latest", s.latest(s.c, k), rev, "b")
}

func (s *suite) latestReflectsEveryWrite() {
	others := []*conn{s.connect(), s.connect(), s.connect()}
	rev := uint64(0)
	for i := range 60 {
		data := fmt.Sprint(i)
		rev = s.put(others[i%3], k, engine.Put{Expect: rev, Data: []byte(data)})
		s.want("Latest", s.latest(s.c, k), rev, data)
		s.want("Latest of another", s.latest(others[(i+1)%3], k), rev, data)
	}
}

func (s *suite) watchBeginsWithWhatIsStored() {
	want := make(map[string]engine.Entry)
	for _, part := range []string{"current", "ABC", "abc", "token1", "token2"} {
		name := engine.Name{Key: "k", Part: part}
		rev := s.put(s.c, name, engine.Put{Data: []byte("old")})
		switch part {
		case "token1": // released, and so a marker
			rev = s.put(s.c, name, engine.Put{Expect: rev})
			want[part] = engine.Entry{Rev: rev}
		default:
			rev = s.put(s.c, name, engine.Put{Expect: rev, Data: []byte(part)})
			want[part] = engine.Entry{Rev: rev, Data: []byte(part)}
		}
	}
	ch := s.watch(s.connect(), "k")
	got := make(map[string]bool)
	for range want {
		e := s.next("what is stored", ch)
		if got[e.Part] {
			s.Errorf("part %s comes again before all the others have", e.Part)
		}
		got[e.Part] = true
		s.want("part "+e.Part, e, want[e.Part].Rev, string(want[e.Part].Data))
	}
	s.all("after what is stored", ch)
	rev := s.put(s.c, engine.Name{Key: "k", Part: "new"}, engine.Put{Data: []byte("n")})
	s.want("a new part", s.next("a new part", ch), rev, "n")
}

func (s *suite) watchOfNothing() {
	ch := s.watch(s.connect(), "k")
	s.all("a watch of nothing", ch)
	s.none("a watch of nothing", ch, 300*time.Millisecond)
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	s.want("Watch", s.next("a record", ch), rev, "a")
}

func (s *suite) watchChangesInOrder() {
	ch, own := s.watch(s.connect(), "k"), s.watch(s.c, "k")
	last := make(map[string]uint64)
	for i := range 30 {
		name := engine.Name{Key: "k", Part: []string{"current", "token"}[i%2]}
		data := fmt.Sprint(i)
		if i%5 == 4 {
			data = ""
		}
		rev := s.put(s.c, name, engine.Put{Expect: last[name.Part], Data: []byte(data)})
		last[name.Part] = rev
		for _, ch := range []<-chan engine.Entry{ch, own} {
			e := s.next("a change", ch)
			s.want(fmt.Sprintf("change %d", i), e, rev, data)
			if e.Part != name.Part {
				s.Errorf("change %d: of part %q, want %q", i, e.Part, name.Part)
			}
		}
	}
}

// A watch that begins while changes come has all that is after its beginning.
func (s *suite) watchMissesNothing() {
	writer := s.connect()
	rev := uint64(0)
	for range 20 {
		began := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for i := range 6 {
				if i == 2 {
					close(began)
				}
				r, err := s.write(writer, k, engine.Put{Expect: rev, Data: []byte("a")})
				if err != nil {
					s.Errorf("Write: %v", err)
					return
				}
				rev = r
			}
		}()
		<-began
		ctx, cancel := context.WithCancel(s.Context())
		ch := s.c.Watch(ctx, "k")
		<-ended
		for last := uint64(0); last < rev; {
			e := s.next("the last change", ch)
			if e.Rev < last {
				s.Errorf("revision %d after %d", e.Rev, last)
			}
			last = e.Rev
		}
		cancel()
		closed(s, "the watch", ch)
	}
}

// Changes that are not received may be left out, except the last of each part.
func (s *suite) watchCoalesced() {
	ch := s.watch(s.connect(), "k")
	parts := []string{"a", "b", "c"}
	last := make(map[string]uint64)
	for i := range 300 {
		name := engine.Name{Key: "k", Part: parts[i%3]}
		last[name.Part] = s.put(s.c, name, engine.Put{Expect: last[name.Part], Data: []byte("a")})
	}
	seen := make(map[string]uint64)
	for seen["a"] != last["a"] || seen["b"] != last["b"] || seen["c"] != last["c"] {
		e := s.next("the last change", ch)
		if e.Rev < seen[e.Part] || e.Rev > last[e.Part] {
			s.Fatalf("part %s: revision %d after %d, the last is %d", e.Part, e.Rev, seen[e.Part], last[e.Part])
		}
		seen[e.Part] = e.Rev
	}
}

// noWatches waits until nothing remains of the watches in the store, as far as
// that can be seen.
func (s *suite) noWatches() {
	s.Helper()
	if s.Watches != nil {
		s.until("the end of the watches in the store", func() bool { return s.Watches() == 0 })
	}
}

func (s *suite) watchEndsWithContext() {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	ch := s.c.Watch(ctx, "k")
	s.want("Watch", s.next("a record", ch), rev, "a")
	if s.Watches != nil {
		s.until("one watch", func() bool { return s.Watches() == 1 })
	}
	cancel()
	closed(s, "the watch whose context is done", ch)
	s.noWatches()

	// One that ends before it has begun leaves nothing either.
	for range 10 {
		ctx, cancel := context.WithCancel(s.Context())
		ch := s.c.Watch(ctx, "k")
		cancel()
		closed(s, "a watch that was ended at once", ch)
	}
	s.noWatches()
}

func (s *suite) watchWithDoneContext() {
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	closed(s, "a watch with a done context", s.c.Watch(ctx, "k"))
	s.noWatches()
}

func (s *suite) watchThatNobodyReceives() {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	ch := s.c.Watch(ctx, "k")
	rev := uint64(0)
	for range 200 {
		rev = s.put(s.c, k, engine.Put{Expect: rev, Data: []byte("a")})
	}
	other := s.watch(s.c, "k") // on the same connection, and not held up
	s.want("a watch beside it", s.next("a watch beside it", other), rev, "a")
	cancel()
	closed(s, "the watch that nobody received from", ch)
}

func (s *suite) manyWatches() {
	var watches []<-chan engine.Entry
	for range 4 {
		c := s.connect()
		for range 4 {
			watches = append(watches, s.watch(c, "k"))
		}
	}
	rev := uint64(0)
	for range 3 {
		rev = s.put(s.c, k, engine.Put{Expect: rev, Data: []byte("a")})
		for i, ch := range watches {
			s.want(fmt.Sprintf("watch %d", i), s.next("a record", ch), rev, "a")
		}
	}
}

var tenThousand = strings.Repeat("long", 10_000)

// keys are of any length and content, and easily taken for each other.
var keys = []string{
	"", " ", "  ", ".", "..", "a", "a.b", "a.b.c", "a.now", "now", "*", ">", "a.*", "a.>", "{x}", "}", "{", "{}", "{x}y", "x", "{x", "x}",
	"\x00", "\x00\x00", "\n", "\r\n", "\xff", "\xff\xfe", "ключ", "A", "a:b", "a/b", "a_b", "a-b", "a=b", "=", "=20", "%20", "$", "$KV", "[a]", "?", "\\", "\"", "'",
	tenThousand, tenThousand + "x", tenThousand + "y", tenThousand[:255], tenThousand[:256], tenThousand[:257],
	strings.Repeat(".", 300), strings.Repeat("\x00", 300), strings.Repeat("\x00", 301),
}

func (s *suite) anyKey() {
	watcher := s.connect()
	revs := make([]uint64, len(keys))
	watches := make([]<-chan engine.Entry, len(keys))
	for i, key := range keys {
		watches[i] = s.watch(watcher, key)
		revs[i] = s.put(s.c, engine.Name{Key: key, Part: "current"}, engine.Put{Data: fmt.Append(nil, i)})
	}
	for i, key := range keys {
		what := fmt.Sprintf("key %d, %.20q", i, key)
		s.want(what, s.latest(s.c, engine.Name{Key: key, Part: "current"}), revs[i], fmt.Sprint(i))
		s.want(what+", watched", s.next(what, watches[i]), revs[i], fmt.Sprint(i))
	}
	// If a watch had the news of another key, that would come before these.
	for i, key := range keys {
		revs[i] = s.put(s.c, engine.Name{Key: key, Part: "token"}, engine.Put{Data: fmt.Append(nil, "token ", i)})
	}
	for i, key := range keys {
		what := fmt.Sprintf("key %d, %.20q, another part", i, key)
		s.want(what, s.next(what, watches[i]), revs[i], fmt.Sprint("token ", i))
	}
}

func (s *suite) anyPart() {
	parts := []string{"n", "N", "now", "NOW", "0", "00", "Z9", "3TFBKC5QOYOVZ4WBOMWMMDNW64", strings.Repeat("a", 64)}
	ch := s.watch(s.connect(), "k")
	for _, part := range parts {
		rev := s.put(s.c, engine.Name{Key: "k", Part: part}, engine.Put{Data: []byte(part)})
		s.want(part, s.latest(s.c, engine.Name{Key: "k", Part: part}), rev, part)
		e := s.next(part, ch)
		s.want(part, e, rev, part)
		if e.Part != part {
			s.Errorf("news of part %q, want %q", e.Part, part)
		}
	}
}

func (s *suite) doneContext() {
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	ctx, cancel := context.WithCancel(s.Context())
	cancel()
	began := time.Now()
	_, err := s.c.Write(ctx, k, engine.Put{Expect: rev, Data: []byte("b"), TTL: s.unit() * 100})
	if err == nil || errors.Is(err, engine.ErrTaken) || errors.Is(err, engine.ErrTooLarge) || errors.Is(err, engine.ErrClosed) {
		s.Errorf("Write with a done context: %v, want an error that leaves the outcome open, or says ErrUnsent", err)
	}
	if e, err := s.c.Latest(ctx, k); err == nil {
		s.Errorf("Latest with a done context: %v, want an error", show(e))
	}
	if d := time.Since(began); d > s.Slack {
		s.Errorf("requests with a done context took %v", d)
	}
	if errors.Is(err, engine.ErrUnsent) {
		time.Sleep(100 * time.Millisecond)
		s.want("after a Write that was not sent", s.latest(s.c, k), rev, "a")
	}
	// The connection still works.
	there := s.latest(s.c, k)
	s.put(s.c, k, engine.Put{Expect: there.Rev, Data: []byte("c")})
}

func (s *suite) tooLarge() {
	if s.Oversize == 0 {
		s.Skip("the store has no limit that the test knows")
	}
	ch := s.watch(s.c, "k")
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	s.want("Watch", s.next("a record", ch), rev, "a")
	down := s.c.Down()
	big := bytes.Repeat([]byte("x"), s.Oversize)
	fresh := engine.Name{Key: "k", Part: "fresh"}
	for range 3 {
		for name, expect := range map[engine.Name]uint64{k: rev, fresh: 0} {
			if rev, err := s.write(s.c, name, engine.Put{Expect: expect, Data: big}); !errors.Is(err, engine.ErrTooLarge) {
				s.Errorf("Write(%v) of %d bytes = %d, %v, want ErrTooLarge", name, len(big), rev, err)
			}
		}
	}
	s.want("after a Write that was too large", s.latest(s.c, k), rev, "a")
	if e := s.latest(s.c, fresh); !e.Gone {
		s.Errorf("after a Write that was too large: %v, want nothing", show(e))
	}
	rev = s.put(s.c, k, engine.Put{Expect: rev, Data: []byte("b")})
	s.want("Watch", s.next("what comes after it", ch), rev, "b")
	select {
	case <-down:
		s.Error("a Write that is too large takes the connection down")
	default:
	}
}

func (s *suite) oneWriterWins() {
	conns := []*conn{s.c}
	for range 3 {
		conns = append(conns, s.connect())
	}
	ch := s.watch(s.connect(), "k")
	there := engine.Entry{Gone: true}
	for round := range 20 {
		type answer struct {
			rev uint64
			err error
		}
		answers := make([]answer, 8)
		var wg sync.WaitGroup
		for i := range answers {
			wg.Go(func() {
				put := engine.Put{Expect: expect(there), Data: fmt.Append(nil, round, " ", i)}
				answers[i].rev, answers[i].err = s.write(conns[i%4], k, put)
			})
		}
		wg.Wait()
		winners := 0
		for i, a := range answers {
			switch {
			case a.err == nil:
				winners++
				there = s.latest(s.c, k)
				s.want("the winner's record", there, a.rev, fmt.Sprint(round, " ", i))
				s.want("the winner's news", s.next("the winner's record", ch), a.rev, fmt.Sprint(round, " ", i))
			case !errors.Is(a.err, engine.ErrTaken):
				s.Errorf("round %d, writer %d: %v, want ErrTaken", round, i, a.err)
			}
		}
		if winners != 1 {
			s.Fatalf("round %d: %d writers replaced one revision, want 1", round, winners)
		}
	}
}

func (s *suite) close() {
	c := s.connect()
	rev := s.put(c, k, engine.Put{Data: []byte("a")})
	before := c.Down()
	select {
	case <-before: // a nil channel is allowed too
		s.Error("Down is closed while the connection is up")
	default:
	}
	c.close()
	if before != nil {
		closed(s, "the Down of before", before)
	}
	down := c.Down()
	if down == nil {
		s.Fatal("Down returns nil after Close, want a channel that is closed")
	}
	closed(s, "Down", down)
	if rev, err := s.write(c, k, engine.Put{Expect: rev, Data: []byte("b")}); !errors.Is(err, engine.ErrClosed) {
		s.Errorf("Write after Close = %d, %v, want ErrClosed", rev, err)
	}
	ctx, cancel := s.context()
	defer cancel()
	if e, err := c.Latest(ctx, k); err == nil {
		s.Errorf("Latest after Close: %v, want an error", show(e))
	}
	closed(s, "a watch after Close", c.Watch(ctx, "k"))
	s.want("after a Write on a closed engine", s.latest(s.c, k), rev, "a")
	if c.String() == "" || c.Limits() != s.c.Limits() {
		s.Errorf("after Close: String %q, Limits %+v, want those of before", c.String(), c.Limits())
	}
}

func (s *suite) closeEndsWatches() {
	c := s.connect()
	rev := s.put(c, k, engine.Put{Data: []byte("a")})
	ch, idle := s.watch(c, "k"), s.watch(c, "nothing")
	s.want("Watch", s.next("a record", ch), rev, "a")
	c.close()
	closed(s, "a watch of an engine that was closed", ch)
	closed(s, "a watch of nothing", idle)
	s.noWatches()
}

func (s *suite) closeIsForOneConnection() {
	ch := s.watch(s.c, "k")
	for range 3 {
		s.connect().close()
	}
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	s.want("Watch", s.next("a record", ch), rev, "a")
	select {
	case <-s.c.Down():
		s.Error("Down is closed since another engine was")
	default:
	}
}

func (s *suite) limitsAndString() {
	l := s.c.Limits()
	if l.Granularity <= 0 || l.MaxTTL < 0 || l.MaxTTL != 0 && l.MaxTTL < l.Granularity {
		s.Errorf("Limits %+v, want a granularity above 0, and no longest time to live or one that is longer", l)
	}
	if again := s.connect().Limits(); again != l || s.c.Limits() != l {
		s.Errorf("Limits %+v, then %+v, want the same", l, again)
	}
	if s.c.String() == "" {
		s.Error("String is empty")
	}
}

// works waits until the engine works, which may take a while after a fault.
func (s *suite) works(c *conn) {
	s.Helper()
	fine := engine.Name{Key: "afterwards", Part: "current"}
	ctx, cancel := s.context()
	defer cancel()
	s.until("a Write that succeeds", func() bool {
		try, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		e, err := c.Latest(try, fine)
		if err != nil {
			return false
		}
		_, err = c.Write(try, fine, engine.Put{Expect: expect(e), Data: []byte("a"), TTL: s.unit() * 100})
		return err == nil
	})
	s.until("a Down that is not closed", func() bool {
		select {
		case <-c.Down():
			return false
		default:
			return true
		}
	})
	s.until("a watch with news", func() bool {
		try, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		ch := c.Watch(try, fine.Key)
		e, open := <-ch
		cancel()
		for range ch {
		}
		return open && string(e.Data) == "a"
	})
}

// prompt checks that requests return when their context is done.
func (s *suite) prompt(what string, c *conn, rev uint64) {
	s.Helper()
	const limit = 300 * time.Millisecond
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(s.Context(), limit)
			defer cancel()
			began := time.Now()
			_, err := c.Write(ctx, k, engine.Put{Expect: rev, Data: []byte("b"), TTL: s.unit() * 100})
			if d := time.Since(began); err == nil || errors.Is(err, engine.ErrTaken) || d > limit+s.Slack {
				s.Errorf("%s: Write returned %v after %v, want another error within %v", what, err, d, limit)
			}
		})
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(s.Context(), limit)
			defer cancel()
			began := time.Now()
			e, err := c.Latest(ctx, k)
			if d := time.Since(began); err == nil || d > limit+s.Slack {
				s.Errorf("%s: Latest returned %v, %v after %v, want an error within %v", what, show(e), err, d, limit)
			}
		})
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(s.Context(), limit)
			defer cancel()
			began := time.Now()
			for e := range c.Watch(ctx, "new") {
				s.Errorf("%s: a watch received %v", what, show(e))
			}
			if d := time.Since(began); d > limit+s.Slack {
				s.Errorf("%s: a watch was closed after %v, want %v at most", what, d, limit)
			}
		})
	}
	wg.Wait()
}

func (s *suite) freeze() {
	if s.Freeze == nil {
		s.Skip("the store cannot be frozen")
	}
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	thaw := sync.OnceFunc(s.Freeze(s))
	defer thaw()
	s.prompt("frozen", s.c, rev)
	thaw()
	s.works(s.c)
	// The outcome of what was asked meanwhile is unknown, but it is one of two.
	if e := s.latest(s.c, k); e.Gone || e.Rev == rev && string(e.Data) != "a" || e.Rev > rev && string(e.Data) != "b" {
		s.Errorf("after Writes that were not answered: %v", show(e))
	}
}

func (s *suite) freezeAWatch() {
	if s.Freeze == nil {
		s.Skip("the store cannot be frozen")
	}
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	ch := s.watch(s.connect(), "k")
	s.want("Watch", s.next("a record", ch), rev, "a")
	thaw := sync.OnceFunc(s.Freeze(s))
	defer thaw()
	time.Sleep(200 * time.Millisecond)
	thaw()
	s.works(s.c)
	s.recovers(ch, k)
}

// recovers checks that a watch has the news of what is written now, or is
// closed.
func (s *suite) recovers(ch <-chan engine.Entry, name engine.Name) {
	s.Helper()
	there := s.latest(s.c, name)
	rev := s.put(s.c, name, engine.Put{Expect: expect(there), Data: []byte("afterwards")})
	late := time.After(patience)
	for {
		select {
		case e, open := <-ch:
			if !open || e.Rev == rev {
				return
			}
		case <-late:
			s.Fatalf("a watch is neither closed nor has the news within %v", patience)
		}
	}
}

func (s *suite) stopAndStart() {
	if s.Stop == nil {
		s.Skip("the store cannot be stopped")
	}
	other := s.connect()
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	s.want("Latest", s.latest(other, k), rev, "a")
	down := s.c.Down()
	start := sync.OnceFunc(s.Stop(s))
	defer start()
	s.prompt("stopped", s.c, rev)
	if down != nil {
		closed(s, "the Down of before", down)
	}
	start()
	s.works(s.c)
	s.works(other)
	if e := s.latest(s.c, k); e.Gone || e.Rev == rev && string(e.Data) != "a" || e.Rev > rev && string(e.Data) != "b" {
		s.Errorf("after the server was started again: %v", show(e))
	}
	there := s.latest(s.c, k)
	if again := s.put(s.c, k, engine.Put{Expect: there.Rev, Data: []byte("c")}); again <= there.Rev {
		s.Errorf("after the server was started again: revision %d replaced %d", again, there.Rev)
	}
}

func (s *suite) stopAndStartWithAWatch() {
	if s.Stop == nil {
		s.Skip("the store cannot be stopped")
	}
	rev := s.put(s.c, k, engine.Put{Data: []byte("a")})
	ch, idle := s.watch(s.connect(), "k"), s.watch(s.connect(), "idle")
	s.want("Watch", s.next("a record", ch), rev, "a")
	start := sync.OnceFunc(s.Stop(s))
	defer start()
	time.Sleep(200 * time.Millisecond)
	start()
	s.works(s.c)
	s.recovers(ch, k)
	s.recovers(idle, engine.Name{Key: "idle", Part: "current"})
}

func (s *suite) expiryWhileStopped() {
	if s.Stop == nil {
		s.Skip("the store cannot be stopped")
	}
	rev := s.put(s.c, k, engine.Put{Data: []byte("a"), TTL: s.unit()})
	start := sync.OnceFunc(s.Stop(s))
	defer start()
	time.Sleep(s.unit() + time.Second)
	start()
	s.works(s.c)
	s.until("the expiry", func() bool { return len(s.latest(s.c, k).Data) == 0 })
	s.refused(s.c, k, engine.Put{Expect: rev, Data: []byte("b")})
	s.claim(engine.Put{Data: []byte("b")})
}

func (s *suite) closeWhileStopped() {
	if s.Stop == nil {
		s.Skip("the store cannot be stopped")
	}
	c := s.connect()
	ch := s.watch(c, "k")
	start := sync.OnceFunc(s.Stop(s))
	defer start()
	time.Sleep(50 * time.Millisecond)
	c.close()
	closed(s, "Down", c.Down())
	closed(s, "the watch", ch)
	if rev, err := s.write(c, k, engine.Put{Data: []byte("b")}); !errors.Is(err, engine.ErrClosed) {
		s.Errorf("Write after Close = %d, %v, want ErrClosed", rev, err)
	}
	start()
	s.works(s.c)
}
