// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package redis

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"example.com/singleflight/fleet/internal/engine"
)

// A watch sends the changes of a key's parts to one receiver. It learns of them
// from news, and from listings: one when the subscription is confirmed, and one
// whenever a record should have expired, since Redis does not announce that.
type watch struct {
	engine *Engine
	name   string
	out    chan engine.Entry

	mail  chan struct{} // has an element when inbox has
	mu    sync.Mutex
	inbox []news

	// Only the goroutine of run uses these.
	begun bool     // the first listing is there
	early []record // news that came before it
	known map[string]*known
	queue []engine.Entry // to be sent
}

// News is a record that was published, or the confirmation of the subscription.
type news struct {
	record     record
	subscribed bool
}

// A known is what the receiver knows of a part when the queue has been sent.
type known struct {
	rev   uint64
	gone  bool
	quiet bool
	asOf  uint64    // the server's time, in microseconds, at which it was true
	ends  time.Time // by the clock here, when to ask whether it has expired
}

// Watch is for package fleet.
func (e *Engine) Watch(ctx context.Context, key string) <-chan engine.Entry {
	w := &watch{
		engine: e,
		name:   e.name(key),
		out:    make(chan engine.Entry),
		mail:   make(chan struct{}, 1),
		known:  make(map[string]*known),
	}
	e.mu.Lock()
	closed := e.ctx.Err() != nil
	if !closed {
		e.running.Add(1)
	}
	e.mu.Unlock()
	if closed {
		close(w.out)
		return w.out
	}
	go func() {
		defer e.running.Done()
		defer close(w.out)
		ctx, stop := e.untilClose(ctx)
		defer stop()
		e.join(w)
		defer e.leave(w)
		w.run(ctx)
	}()
	return w.out
}

// post never waits.
func (w *watch) post(n news) {
	w.mu.Lock()
	w.inbox = append(w.inbox, n)
	w.mu.Unlock()
	select {
	case w.mail <- struct{}{}:
	default:
	}
}

// listingTimeout is for a listing, since that has no timeout of the protocol.
const listingTimeout = 5 * time.Second

// run returns when ctx is done, or when a listing fails; then the watch is lost.
func (w *watch) run(ctx context.Context) {
	type answer struct {
		listing
		err error
	}
	var (
		wanted  bool
		answers chan answer // nil unless a listing is on its way
	)
	expiry := time.NewTimer(time.Hour)
	defer expiry.Stop()
	for {
		if wanted && answers == nil {
			wanted = false
			answers = make(chan answer, 1)
			go func(to chan<- answer) {
				ctx, cancel := context.WithTimeout(ctx, listingTimeout)
				defer cancel()
				l, err := w.engine.list(ctx, w.name)
				to <- answer{l, err}
			}(answers)
		}
		if next, ok := w.next(); ok {
			expiry.Reset(time.Until(next))
		} else {
			expiry.Stop()
		}
		var out chan<- engine.Entry
		var first engine.Entry
		if len(w.queue) > 0 {
			out, first = w.out, w.queue[0]
		}
		select {
		case out <- first:
			w.queue = w.queue[1:]
		case <-w.mail:
			w.mu.Lock()
			inbox := w.inbox
			w.inbox = nil
			w.mu.Unlock()
			for _, n := range inbox {
				if n.subscribed {
					w.distrust()
					wanted, answers = true, nil // a listing on its way may be older
				} else {
					w.hear(n.record)
				}
			}
		case a := <-answers:
			if a.err != nil {
				return
			}
			answers = nil
			w.learn(a.listing)
		case <-expiry.C:
			w.postpone()
			wanted = true
		case <-ctx.Done():
			return
		}
	}
}

// next returns when the first record expires.
func (w *watch) next() (first time.Time, ok bool) {
	for _, k := range w.known {
		if !k.gone && !k.quiet && (!ok || k.ends.Before(first)) {
			first, ok = k.ends, true
		}
	}
	return first, ok
}

// again is how long to wait before the server is asked again, if a listing still
// has a record that should have expired.
const again = 100 * time.Millisecond

func (w *watch) postpone() {
	now := time.Now()
	for _, k := range w.known {
		if !k.ends.After(now) {
			k.ends = now.Add(again)
		}
	}
}

// distrust makes the next listing replace what is known: the server may have lost
// writes, or be another one, whose clock is behind.
func (w *watch) distrust() {
	for _, k := range w.known {
		k.asOf = 0
	}
}

// hear notes a record that was published. A listing may already be newer.
func (w *watch) hear(r record) {
	if !w.begun {
		w.early = append(w.early, r) // it may be from before the watch began
		return
	}
	k := w.known[r.Part]
	if k == nil || r.Rev > k.rev {
		w.note(r, r.Rev)
	}
}

// learn notes the records of a listing. News may already be newer. As a rule, a
// write took place no later than the time that is its revision.
func (w *watch) learn(l listing) {
	there := make(map[string]bool)
	slices.SortFunc(l.records, func(a, b record) int { return cmp.Compare(a.Rev, b.Rev) })
	for _, r := range l.records {
		there[r.Part] = true
		k := w.known[r.Part]
		switch {
		case k == nil && r.Gone: // absent from the beginning
			w.known[r.Part] = &known{rev: r.Rev, gone: true, quiet: r.quiet, asOf: l.at}
		case k == nil, r.Rev > k.rev, r.Rev < k.rev && l.at > k.asOf:
			w.note(r, l.at)
		case r.Rev == k.rev && r.Gone && !k.gone:
			w.note(r, max(l.at, k.asOf))
		case r.Rev == k.rev && !r.Gone:
			k.asOf = max(l.at, k.asOf)
			k.ends = ends(r)
		}
	}
	for part, k := range w.known {
		if !there[part] && !k.gone && l.at > k.asOf {
			w.note(record{Entry: engine.Entry{Part: part, Rev: k.rev, Gone: true}, quiet: k.quiet}, l.at)
		}
	}
	if !w.begun {
		w.begun = true
		w.queue = append(w.queue, engine.Entry{}) // end of what is stored
		for _, r := range w.early {
			w.hear(r)
			if !there[r.Part] && r.Rev <= l.at {
				w.note(record{Entry: engine.Entry{Part: r.Part, Rev: r.Rev, Gone: true}, quiet: r.quiet}, l.at)
			}
		}
		w.early = nil
	}
}

// note makes r what is known of its part, and queues it, unless it is the expiry
// of a quiet record.
func (w *watch) note(r record, asOf uint64) {
	w.known[r.Part] = &known{rev: r.Rev, gone: r.Gone, quiet: r.quiet, asOf: asOf, ends: ends(r)}
	if r.Gone && r.quiet {
		return
	}
	if len(w.queue) >= backlog {
		// Leave out earlier changes of this part, but only behind the entry that
		// ends what is stored.
		later := w.queue[1+slices.IndexFunc(w.queue, func(e engine.Entry) bool { return e.Part == "" }):]
		left := slices.DeleteFunc(later, func(e engine.Entry) bool { return e.Part == r.Part })
		w.queue = w.queue[:len(w.queue)-len(later)+len(left)]
	}
	w.queue = append(w.queue, r.Entry)
}

// backlog is how many changes wait for the receiver before all but the last
// of a part are left out.
const backlog = 16

// ends returns when r has expired, by the clock here. It adds a millisecond, the
// unit in which the server counts.
func ends(r record) time.Time { return time.Now().Add(r.left + time.Millisecond) }
