// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A flight answers all who ask for a key in this process at one time. Its
// states call each other: claim, then load or await, and withoutEngine where
// the engine does not answer.
//
// It is one goroutine's, and its keeper's while that goroutine runs fn.
type flight[V any] struct {
	*Group[V]
	ctx context.Context // done when every caller has left
	key string
	fn  func(context.Context) (V, error)

	subject string // the key, encoded

	// The load that this flight asks the engine to let it run.
	token   string
	sent    bool // the engine was asked, and has not refused
	claimed bool // it was seen to have agreed

	// The latest records by name: now, and those of forgotten loads.
	seen  map[string]record
	asked uint64 // the revision of now when the engine was last asked itself

	// A record that had ended when this flight first looked is too old for
	// its callers: somebody may have had its result before they called. All
	// later ones are of a load that was pending then, or that began since.
	looked bool
	tooOld uint64

	awaited string // token of the load elsewhere that was last waited for

	updates <-chan jetstream.KeyValueEntry // the news of the key, if they are watched
	stop    func()
}

func newFlight[V any](g *Group[V], ctx context.Context, key string, fn func(context.Context) (V, error)) *flight[V] {
	return &flight[V]{
		Group:   g,
		ctx:     ctx,
		key:     key,
		fn:      fn,
		subject: encodeKey(key),
		seen:    make(map[string]record),
	}
}

// claim tries to take the key from what is there, and loads or waits.
func (f *flight[V]) claim(there record) (v V, err error) {
	f.token, f.sent, f.claimed = rand.Text(), true, false
	r := f.pending()
	// Not broken off if the callers leave: the key might be claimed, and
	// nobody would know to release it.
	ctx := context.WithoutCancel(f.ctx)
	r.rev, err = f.engine.write(ctx, f.name(now), there.expect(), r, f.lease)
	switch {
	case err == nil:
		f.note(now, r)
		f.first()
	case errors.Is(err, errTaken):
		f.sent = false
		if err := f.look(f.ctx, f.awaited); err != nil {
			return f.withoutEngine(err)
		}
		return f.await()
	case errors.Is(err, errUnsent):
		f.sent = false
		return f.withoutEngine(err)
	case f.required || f.ctx.Err() != nil:
		// It may have got through, and only the answer was lost. Nobody is to
		// load without knowing; so read back whether it has.
		if f.look(ctx, f.token); !f.claimed {
			f.letGo()
			return f.withoutEngine(err)
		}
	default:
		return f.withoutEngine(err) // and read back meanwhile
	}
	if f.awaited != "" {
		f.takeovers.Add(1)
	}
	return f.load()
}

// withoutEngine loads without leave, if it may.
func (f *flight[V]) withoutEngine(cause error) (v V, err error) {
	switch {
	case f.ctx.Err() != nil:
		return v, f.ctx.Err()
	case f.required:
		return v, fmt.Errorf("%w: %w", ErrUnavailable, cause)
	}
	f.fallbacks.Add(1)
	if f.sent {
		return f.load()
	}
	return f.alone()
}

// alone loads for this process only.
func (f *flight[V]) alone() (V, error) {
	f.unwatch()
	return f.run(f.ctx)
}

// await waits for the load that is under way elsewhere.
func (f *flight[V]) await() (v V, err error) {
	r, err := f.ending()
	if err != nil {
		return f.withoutEngine(err)
	}
	switch r.State {
	case free:
		return f.claim(r)
	case failed:
		f.received.Add(1)
		return v, &RemoteError{Message: string(r.body)}
	case done:
		var got V
		if err := f.codec.Unmarshal(r.body, &got); err == nil {
			f.received.Add(1)
			return got, nil
		}
		f.warn("a value could not be decoded, so every process loads for itself", err)
	}
	return f.alone()
}

// ending returns how the load ended that is pending now; or a free record
// where the key is to be claimed.
func (f *flight[V]) ending() (record, error) {
	f.watch()
	conn := f.engine.js.Conn()
	down := f.engine.down()
	defer conn.RemoveStatusListener(down)
	if !conn.IsConnected() {
		return record{}, errDown
	}
	// The holder renews its record at half its lease. When the news of that is
	// overdue, either the engine does not answer, or the watch is broken, or
	// the holder has died; and then the news will be that its lease is over.
	overdue := time.NewTimer(0)
	defer overdue.Stop()
	var last uint64
	for {
		r := f.seen[now]
		switch own := f.seen[f.awaited]; {
		case f.awaited == "", r.Token == f.awaited && r.State != moved, r.State == free && !r.gone:
			// What is there is the load that is waited for, or its end.
		case own.State != free:
			// It was forgotten, and goes on under its own name. Its callers
			// are still those of this flight; later ones start another.
			f.leave()
			r = own
		case f.asked != r.rev:
			// It is tempting to take it for lost. But the news of where it has
			// gone may be behind.
			if err := f.look(f.ctx, f.awaited); err != nil {
				return record{}, err
			}
			continue
		}
		switch {
		case r.State == moved, r.State.finished() && r.rev <= f.tooOld:
			return record{rev: r.rev, gone: r.gone}, nil
		case r.State != pending:
			return r, nil
		}
		f.awaited = r.Token
		if r.rev != last {
			last = r.rev
			overdue.Reset(time.Duration(r.Lease) * time.Second * 3 / 4)
		}
		select {
		case e, open := <-f.updates:
			if f.news(e, open); !open {
				overdue.Reset(again)
			}
		case <-overdue.C:
			f.updates = nil
			f.watch()
			if err := f.look(f.ctx, f.awaited); err != nil {
				return record{}, err
			}
			last = 0
		case <-down:
			return record{}, errDown
		case <-f.ctx.Done():
			return record{}, f.ctx.Err()
		}
	}
}

// again is how long to wait before the engine is asked again for what it did
// not give.
const again = time.Second

// leave makes later callers in this process start a flight of their own,
// since the load that this one waits for was forgotten.
func (f *flight[V]) leave() {
	if f.joinable.CompareAndDelete(f.key, f) {
		f.callers.Forget(f.key)
	}
}

// forget moves the load that is pending to a name of its own, and so frees
// the key.
func (f *flight[V]) forget() error {
	if err := f.look(f.ctx, ""); err != nil {
		return err
	}
	old, own := f.seen[now], record{gone: true}
	for there := old; there.State == pending && there.Token == old.Token; there = f.seen[now] {
		// First the new name, so that a process that sees the key free knows where
		// the load has gone.
		rev, err := f.engine.write(f.ctx, f.name(old.Token), own.expect(), old, time.Duration(old.Lease)*time.Second)
		switch {
		case err == nil:
			own = record{rev: rev}
			_, err = f.engine.write(f.ctx, f.name(now), there.rev, record{State: moved, Token: old.Token}, f.linger)
		case errors.Is(err, errTaken): // by another Forget
			if own, err = f.engine.latest(f.ctx, f.name(old.Token)); err != nil {
				return err
			}
			err = errTaken
		}
		if !errors.Is(err, errTaken) {
			return err
		}
		if err := f.look(f.ctx, ""); err != nil {
			return err
		}
	}
	if f.seen[now].Token == old.Token && f.seen[now].State.finished() && !own.gone {
		// It ended under the key's name before it could be moved.
		f.engine.write(f.ctx, f.name(old.Token), own.rev, record{}, f.linger)
	}
	return nil
}

// run calls fn. It returns when fn has, or when ctx is done, even if fn does
// not heed that. A panic of fn is passed on with fn's stack, and a Goexit too.
func (f *flight[V]) run(ctx context.Context) (V, error) {
	v, err, _ := f.loads.DoContext(ctx, f.token, f.fn)
	return v, err
}

func (f *flight[V]) name(of string) string { return f.subject + "." + of }

func (f *flight[V]) pending() record {
	return record{State: pending, Token: f.token, Lease: int(f.lease / time.Second)}
}

// see notes what the watch says is under a name, unless something later is
// known: it may be behind the answers to requests.
func (f *flight[V]) see(name string, r record) {
	if r.rev > f.seen[name].rev {
		f.note(name, r)
	}
}

// note notes what is under a name.
func (f *flight[V]) note(name string, r record) {
	f.seen[name] = r
	if r.Token == f.token {
		f.claimed = f.sent
	}
}

// first notes, once, what is too old.
func (f *flight[V]) first() {
	if !f.looked {
		f.looked, f.tooOld = true, f.seen[now].rev
	}
}

// look asks the engine what is there now, and, if that is not the load with
// token, where that one has gone.
func (f *flight[V]) look(ctx context.Context, token string) error {
	there, err := f.engine.latest(ctx, f.name(now))
	if err != nil {
		return err
	}
	if token != "" && (token != there.Token || there.State == moved) {
		own, err := f.engine.latest(ctx, f.name(token))
		if err != nil {
			return err
		}
		f.learn(token, own)
	}
	f.learn(now, there)
	f.asked = f.seen[now].rev
	f.first()
	return nil
}

// learn notes an answer, which is later than all that was seen before the
// question; even if its revision is not, since the bucket was made anew.
func (f *flight[V]) learn(name string, r record) {
	if r.gone {
		r.rev = f.seen[name].rev
	}
	f.note(name, r)
}

// watch has updates bring the news. Without it the engine has to be asked:
// what comes and goes in between is missed.
func (f *flight[V]) watch() {
	if f.updates == nil {
		f.unwatch()
		f.updates, f.stop = f.engine.watch(f.subject)
	}
}

func (f *flight[V]) unwatch() {
	if f.stop != nil {
		f.stop()
	}
	f.updates, f.stop = nil, nil
}

// news notes an update of the watch.
func (f *flight[V]) news(e jetstream.KeyValueEntry, open bool) {
	switch {
	case !open:
		f.updates = nil
	case e != nil: // nil is between what was there and what comes
		f.see(e.Key()[len(f.name("")):], decode(e.Value(), e.Revision()))
	}
}
