// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package enginetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"example.com/singleflight/fleet/internal/engine"
)

// A Fake is a store in memory, to which a test makes connections. It is for
// bubbles of package synctest: while it waits, a bubble's clock can advance.
//
// Requests, answers and news take a while to arrive, as they do on a network:
// see [Line]. The store carries out a request when it arrives, at one instant.
type Fake struct {
	opts FakeOptions

	mu      sync.Mutex
	numbers int // of connections, so far
	conns   []*Conn
	watches []*watch
	stopped bool
	frozen  bool
	ahead   time.Duration // of the store's clock
	state   State
	waiting []func() // what arrived while frozen
}

// FakeOptions say which engine a [Fake] resembles.
type FakeOptions struct {
	Granularity time.Duration // of a time to live; the default is 1 s
	MaxTTL      time.Duration // 0 if there is no limit
	MaxData     int           // the longest Data; 0 if there is no limit

	// Gone is how an expiry is announced: by an Entry that is Gone, as Redis
	// does. Otherwise the expiry leaves a marker for MarkerTTL, as in NATS.
	Gone      bool
	MarkerTTL time.Duration // the default is 1 s

	// Late is how much longer than its time to live a record lives, a second
	// at most.
	Late time.Duration

	// Latency is how long a message takes, one way, on a good line: a time
	// between half of that and that. The default is 1 ms.
	Latency time.Duration

	// Seed chooses the latencies.
	Seed uint64

	// Unchecked has the store accept every write, whatever revision it
	// expects. It serves to show that a test notices that.
	Unchecked bool
}

// A State is all that a store keeps.
type State struct {
	records map[engine.Name]*stored
	counter uint64
	epoch   uint64
	applied map[uint64]applied // by the ID of a write
}

// A stored is a record or marker.
type stored struct {
	entry   engine.Entry
	expires time.Time // by the store's clock
	put     engine.Put
	marker  bool // left by an expiry
}

// An applied is what the store answered to a write.
type applied struct {
	rev uint64
	err error
}

// epochs is by how much revisions rise. A store that begins anew chooses another
// remainder, so that lower revisions than before are never the same.
const epochs = 1000

// NewFake makes an empty store.
func NewFake(opts FakeOptions) *Fake {
	opts.Granularity = cmp.Or(opts.Granularity, time.Second)
	opts.MarkerTTL = cmp.Or(opts.MarkerTTL, time.Second)
	opts.Latency = cmp.Or(opts.Latency, time.Millisecond)
	return &Fake{
		opts:  opts,
		state: State{records: make(map[engine.Name]*stored), applied: make(map[uint64]applied)},
	}
}

// Connect makes a connection.
func (f *Fake) Connect() *Conn {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.numbers++
	c := &Conn{f: f, number: f.numbers, down: make(chan struct{}), ended: make(chan struct{})}
	f.conns = append(f.conns, c)
	c.updateLocked()
	return c
}

// Close closes all connections. What is still on its way is lost.
func (f *Fake) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range slices.Clone(f.conns) {
		c.closeLocked()
	}
	f.stopped = true
}

// Stop ends the server: connections go down, and what arrives is lost.
func (f *Fake) Stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	f.waiting = nil
	f.updateLocked()
}

// Start starts the server again after [Fake.Stop], with what it had.
func (f *Fake) Start() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = false
	f.expireLocked()
	f.updateLocked()
}

// Freeze makes the server silent. It does nothing until [Fake.Thaw], not even
// let a record expire, and then all that arrived meanwhile.
func (f *Fake) Freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = true
}

// Thaw ends what [Fake.Freeze] began.
func (f *Fake) Thaw() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen = false
	f.expireLocked()
	waiting := f.waiting
	f.waiting = nil
	for _, arrive := range waiting {
		arrive()
	}
}

// Save returns what the store keeps now, for [Fake.Restore].
func (f *Fake) Save() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.state
	s.records, s.applied = maps.Clone(s.records), maps.Clone(s.applied)
	return s
}

// Restore rolls the store back to what it kept before, or, if s is the zero
// State, to nothing. Revisions begin where they were then, but none is given
// again. Connections and watches are not told, so the server should be stopped.
func (f *Fake) Restore(s State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.epoch = f.state.epoch + 1
	s.records, s.applied = maps.Clone(s.records), maps.Clone(s.applied)
	if s.records == nil {
		s.records, s.applied = make(map[engine.Name]*stored), make(map[uint64]applied)
	}
	f.state = s
	for name, r := range f.state.records {
		f.timerLocked(name, r)
	}
}

// StepClock puts the store's clock forward.
func (f *Fake) StepClock(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ahead += d
	f.expireLocked()
	for name, r := range f.state.records {
		f.timerLocked(name, r)
	}
}

// Records returns how many records and markers there are.
func (f *Fake) Records() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.state.records)
}

// Watches returns how many watches there are.
func (f *Fake) Watches() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watches)
}

// updateLocked tells the connections of a change.
func (f *Fake) updateLocked() {
	for _, c := range f.conns {
		c.updateLocked()
	}
}

func (f *Fake) nowLocked() time.Time { return time.Now().Add(f.ahead) }

// expireLocked has all records expire whose time has come.
func (f *Fake) expireLocked() {
	var over []engine.Name
	for name, r := range f.state.records {
		if !f.nowLocked().Before(r.expires) {
			over = append(over, name)
		}
	}
	slices.SortFunc(over, func(a, b engine.Name) int { // in the order of their expiry, not of a map
		x, y := f.state.records[a], f.state.records[b]
		return cmp.Or(x.expires.Compare(y.expires), cmp.Compare(x.entry.Rev, y.entry.Rev))
	})
	for _, name := range over {
		f.expiryLocked(name, f.state.records[name])
	}
}

// timerLocked has a record expire when its time comes.
func (f *Fake) timerLocked(name engine.Name, r *stored) {
	time.AfterFunc(r.expires.Sub(f.nowLocked()), func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.state.records[name] == r && !f.nowLocked().Before(r.expires) && !f.stopped && !f.frozen {
			f.expiryLocked(name, r)
		}
	})
}

func (f *Fake) expiryLocked(name engine.Name, r *stored) {
	delete(f.state.records, name)
	gone := engine.Entry{Part: name.Part, Rev: r.entry.Rev, Gone: true}
	switch {
	case r.put.Quiet, r.marker, len(r.put.Data) == 0:
		// The end of a marker is not announced.
	case f.opts.Gone:
		f.announceLocked(name.Key, gone)
	default:
		m := f.storeLocked(name, engine.Put{TTL: f.opts.MarkerTTL})
		m.marker = true
		f.announceLocked(name.Key, m.entry)
	}
}

// storeLocked stores a record under a new revision.
func (f *Fake) storeLocked(name engine.Name, put engine.Put) *stored {
	f.state.counter++
	now := f.nowLocked()
	r := &stored{
		entry:   engine.Entry{Part: name.Part, Rev: f.state.counter*epochs + f.state.epoch%epochs, Data: put.Data, Time: now},
		expires: now.Add(put.TTL + f.opts.Late),
		put:     put,
	}
	f.state.records[name] = r
	f.timerLocked(name, r)
	return r
}

func (f *Fake) writeLocked(id uint64, name engine.Name, put engine.Put) (uint64, error) {
	if a, ok := f.state.applied[id]; ok { // a repetition
		return a.rev, a.err
	}
	there := f.entryLocked(name)
	if !f.opts.Unchecked && there.Rev != put.Expect {
		f.state.applied[id] = applied{0, engine.ErrTaken}
		return 0, engine.ErrTaken
	}
	r := f.storeLocked(name, put)
	f.state.applied[id] = applied{r.entry.Rev, nil}
	f.announceLocked(name.Key, r.entry)
	return r.entry.Rev, nil
}

// entryLocked returns what is under name. Its data must not be changed.
func (f *Fake) entryLocked(name engine.Name) engine.Entry {
	if r, ok := f.state.records[name]; ok {
		return r.entry
	}
	return engine.Entry{Part: name.Part, Gone: true}
}

// announceLocked sends the news to all watches.
func (f *Fake) announceLocked(key string, e engine.Entry) {
	for _, w := range f.watches {
		if w.key == key {
			w.sendLocked(e)
		}
	}
}

// A Line says what happens to messages between a [Conn] and the store. The zero value
// is a good line.
type Line struct {
	Requests Way // and the beginnings of watches
	Answers  Way // to requests
	News     Way // to watches; Late delays all the news that comes after it

	// Cut takes the connection down: Down says so, watches are lost, and nothing
	// is sent. What is on its way arrives, unless it is lost or held up.
	Cut bool
}

// A Way says what happens to messages in one direction.
type Way struct {
	Lost    bool          // none arrives
	Held    bool          // they wait until Held is false again
	Late    time.Duration // they take this much longer
	Doubled bool          // they arrive a second time, half a second later; news at once
	Every   int           // if above 1, this happens only to messages whose number is a multiple of it
}

// A Conn is a connection to a [Fake], and implements [engine.Engine].
type Conn struct {
	f      *Fake
	number int

	// What follows is guarded by the mutex of the Fake.
	line   Line
	ids    uint64
	down   chan struct{} // closed while the connection is down
	isDown bool
	ended  chan struct{} // closed by Close
	closed bool
	held   []heldMessage
	sent   [news + 1]int // messages, by kind
}

// A heldMessage waits until its direction is not held up.
type heldMessage struct {
	kind    kind
	deliver func()
}

type kind int

const (
	request kind = iota
	answer
	news
)

func (l Line) way(k kind) Way { return [...]Way{l.Requests, l.Answers, l.News}[k] }

// SetLine changes the line, also for what is held up at the moment.
func (c *Conn) SetLine(l Line) {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.line = l
	c.updateLocked()
	held := c.held
	c.held = nil
	for _, m := range held {
		c.arriveLocked(m.kind, m.deliver)
	}
}

// LoseWatches closes the watches of this connection.
func (c *Conn) LoseWatches() {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.loseWatchesLocked()
}

func (c *Conn) loseWatchesLocked() {
	for _, w := range slices.Clone(c.f.watches) {
		if w.c == c {
			w.loseLocked()
		}
	}
}

// Close closes the connection for good.
func (c *Conn) Close() {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.closeLocked()
}

func (c *Conn) closeLocked() {
	if c.closed {
		return
	}
	c.closed = true
	c.f.conns = slices.DeleteFunc(c.f.conns, func(other *Conn) bool { return other == c })
	close(c.ended)
	c.held = nil
	c.updateLocked()
}

// updateLocked opens or closes the channel of Down.
func (c *Conn) updateLocked() {
	down := c.closed || c.line.Cut || c.f.stopped
	if down && !c.isDown {
		close(c.down)
		c.loseWatchesLocked()
	}
	if !down && c.isDown {
		c.down = make(chan struct{})
	}
	c.isDown = down
}

// sendLocked has deliver called with the mutex held when the message arrives.
func (c *Conn) sendLocked(k kind, about string, deliver func()) {
	w := c.wayLocked(k)
	arrive := func() {
		c.f.mu.Lock()
		defer c.f.mu.Unlock()
		c.arriveLocked(k, deliver)
	}
	if w.Lost {
		return
	}
	time.AfterFunc(w.Late+c.latency(k, about), arrive)
	if w.Doubled {
		time.AfterFunc(w.Late+c.latency(k, about)+time.Second/2, arrive)
	}
}

// wayLocked returns what happens to the next message of a kind.
func (c *Conn) wayLocked(k kind) Way {
	c.sent[k]++
	w := c.line.way(k)
	if w.Every > 1 && c.sent[k]%w.Every != 0 {
		return Way{}
	}
	return w
}

func (c *Conn) arriveLocked(k kind, deliver func()) {
	w := c.line.way(k)
	if w.Every > 1 {
		w = Way{} // it was decided when it was sent
	}
	switch {
	case w.Lost, k == request && c.f.stopped:
	case w.Held:
		c.held = append(c.held, heldMessage{k, deliver})
	case k == request && c.f.frozen:
		c.f.waiting = append(c.f.waiting, deliver)
	default:
		deliver()
	}
}

// latency is the same in every run with the same seed, and another one for
// each connection and moment, so that few things happen at one instant.
func (c *Conn) latency(k kind, about string) time.Duration {
	h := c.f.opts.Seed ^ uint64(c.number)<<48 ^ uint64(k)<<56 ^ uint64(time.Now().UnixNano())
	for _, b := range []byte(about) {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	h ^= h >> 31
	h *= 0x9e3779b97f4a7c15
	h ^= h >> 29
	half := uint64(c.f.opts.Latency / 2)
	return time.Duration(half + h%(half+1))
}

var (
	errDown = errors.New("the connection is down")
	errLost = errors.New("the connection was closed before the answer came")
)

// ask sends a request, and waits for the answer that do makes with the mutex
// held.
func ask[T any](ctx context.Context, c *Conn, about string, do func() T) (a T, err error) {
	if ctx.Err() != nil {
		return a, ctx.Err()
	}
	c.f.mu.Lock()
	if c.closed || c.isDown {
		defer c.f.mu.Unlock()
		if c.closed {
			return a, engine.ErrClosed
		}
		return a, fmt.Errorf("%w: %w", engine.ErrUnsent, errDown)
	}
	answered := make(chan T, 1)
	c.sendLocked(request, about, func() {
		a := do()
		c.sendLocked(answer, about, func() {
			select {
			case answered <- a:
			default: // a second answer
			}
		})
	})
	c.f.mu.Unlock()
	select {
	case a = <-answered:
		return a, nil
	case <-ctx.Done():
		return a, ctx.Err()
	case <-c.ended:
		return a, errLost
	}
}

// Write implements [engine.Engine].
func (c *Conn) Write(ctx context.Context, name engine.Name, put engine.Put) (uint64, error) {
	if put.TTL <= 0 || put.TTL%c.f.opts.Granularity != 0 || c.f.opts.MaxTTL != 0 && put.TTL > c.f.opts.MaxTTL {
		panic(fmt.Sprintf("enginetest: a TTL of %v", put.TTL))
	}
	if name.Part == "" {
		panic("enginetest: no part")
	}
	c.f.mu.Lock()
	c.ids++
	id := c.ids*1000 + uint64(c.number) // of this write, in all connections
	closed := c.closed
	c.f.mu.Unlock()
	if c.f.opts.MaxData != 0 && len(put.Data) > c.f.opts.MaxData && !closed {
		return 0, engine.ErrTooLarge
	}
	put.Data = slices.Clone(put.Data)
	a, err := ask(ctx, c, name.Key, func() applied {
		rev, err := c.f.writeLocked(id, name, put)
		return applied{rev, err}
	})
	if err != nil {
		return 0, err
	}
	return a.rev, a.err
}

// Latest implements [engine.Engine].
func (c *Conn) Latest(ctx context.Context, name engine.Name) (engine.Entry, error) {
	e, err := ask(ctx, c, name.Key, func() engine.Entry { return c.f.entryLocked(name) })
	e.Data = slices.Clone(e.Data)
	return e, err
}

// Down implements [engine.Engine].
func (c *Conn) Down() <-chan struct{} {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	return c.down
}

// Limits implements [engine.Engine].
func (c *Conn) Limits() engine.Limits {
	return engine.Limits{Granularity: c.f.opts.Granularity, MaxTTL: c.f.opts.MaxTTL}
}

func (c *Conn) String() string { return "the fake engine" }

// A watch is one in progress. Its goroutine hands on what has arrived.
type watch struct {
	c   *Conn
	key string

	// What follows is guarded by the mutex of the Fake.
	begun   bool
	lost    chan struct{} // closed when the watch is
	isLost  bool
	arrived []engine.Entry
	more    chan struct{} // receives when something has arrived
	last    time.Time     // when the latest news on its way arrives
}

// beginning is how long a watch may take to begin, before it is given up.
const beginning = 2 * time.Second

// Watch implements [engine.Engine].
func (c *Conn) Watch(ctx context.Context, key string) <-chan engine.Entry {
	ch := make(chan engine.Entry)
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	if c.isDown || ctx.Err() != nil {
		close(ch)
		return ch
	}
	w := &watch{c: c, key: key, lost: make(chan struct{}), more: make(chan struct{}, 1)}
	c.f.watches = append(c.f.watches, w)
	c.sendLocked(request, key, w.beginLocked)
	late := time.AfterFunc(beginning, func() {
		c.f.mu.Lock()
		defer c.f.mu.Unlock()
		if !w.begun {
			w.loseLocked()
		}
	})
	go func() {
		defer close(ch)
		defer late.Stop()
		defer w.lose()
		w.handOn(ctx, ch)
	}()
	return ch
}

// beginLocked sends what is stored.
func (w *watch) beginLocked() {
	if w.begun || w.isLost { // a repetition, or too late
		return
	}
	w.begun = true
	var current []engine.Entry
	for name, r := range w.c.f.state.records {
		if name.Key == w.key {
			current = append(current, r.entry)
		}
	}
	slices.SortFunc(current, func(a, b engine.Entry) int { return cmp.Compare(a.Rev, b.Rev) })
	for _, e := range current {
		w.sendLocked(e)
	}
	w.sendLocked(engine.Entry{}) // that is all
}

// sendLocked sends news, which does not overtake what was sent before.
func (w *watch) sendLocked(e engine.Entry) {
	if !w.begun {
		return
	}
	way := w.c.wayLocked(news)
	if way.Lost {
		return
	}
	times := 1
	if way.Doubled {
		times = 2
	}
	at := time.Now().Add(way.Late + w.c.latency(news, w.key))
	if at.Before(w.last) {
		at = w.last
	}
	w.last = at.Add(1) // so that each has an instant of its own, and their order is kept
	time.AfterFunc(time.Until(at), func() {
		w.c.f.mu.Lock()
		defer w.c.f.mu.Unlock()
		w.c.arriveLocked(news, func() {
			for range times {
				w.arrived = append(w.arrived, e)
			}
			select {
			case w.more <- struct{}{}:
			default:
			}
		})
	})
}

func (w *watch) handOn(ctx context.Context, ch chan<- engine.Entry) {
	for {
		select {
		case <-w.more:
		case <-w.lost:
			return
		case <-ctx.Done():
			return
		}
		w.c.f.mu.Lock()
		arrived := w.arrived
		w.arrived = nil
		w.c.f.mu.Unlock()
		for _, e := range arrived {
			e.Data = slices.Clone(e.Data)
			select {
			case ch <- e:
			case <-w.lost:
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

func (w *watch) lose() {
	w.c.f.mu.Lock()
	defer w.c.f.mu.Unlock()
	w.loseLocked()
}

func (w *watch) loseLocked() {
	if !w.isLost {
		w.isLost = true
		close(w.lost)
		w.c.f.watches = slices.DeleteFunc(w.c.f.watches, func(other *watch) bool { return other == w })
	}
}

var _ engine.Engine = (*Conn)(nil)
