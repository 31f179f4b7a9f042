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

	"example.com/singleflight/fleet/internal/engine"
)

// The protocol.
//
// Each write names the revision that it replaces, so that a process that was
// stopped or cut off overwrites nothing that it has not seen. A key's current
// record changes as follows:
//
//	from                            to         written by
//	absent, free, moved, finished   pending    a process that asks: its claim
//	pending                         pending    the holder: a renewal, every half lease
//	pending                         finished   the holder: how fn ended
//	pending                         free       its process: the callers have left, the result could not be
//	                                           written, or the claim arrived while fn ran
//	pending                         free       the engine: the lease has ended
//	pending                         moved      Forget
//	free, moved, finished           absent     the engine: the time to live is over
//
// Finished is done, failed or withheld. The holder is the process whose claim
// was stored.
//
// Before Forget writes moved, it copies the pending record to a part of its
// own, named by the load's token: at first for a second, then for what is left
// of the lease, or free if nothing is left. There the holder continues as
// above, and the processes that wait for that load follow it. That part is never
// claimed.
//
// A load that began before a Forget must not be joined after it. So a load has
// to have a record that Forget can find, from before fn begins. If it has none,
// because the engine did not answer or has lost the record, calls join the load
// only until the engine answers a request again (see [flight.tend]); and a claim that
// arrives while fn runs is not used (see [flight.settle]).

// A flight is one execution of the Group callers: it answers the calls for a
// key in this process that joined it. Its steps call each other: acquire, then
// load or await, and withoutEngine if the engine does not answer.
//
// Only one goroutine uses it at a time; while fn runs, that is keepLease's.
type flight[V any] struct {
	group *Group[V]
	ctx   context.Context // done when every caller has left
	key   string
	fn    func(context.Context) (V, error)
	view  *view

	detached bool // later callers do not join

	// The load for which this flight claims the key.
	token    string
	claim    claimState
	sent     time.Time // when the claim was sent
	began    time.Time // when fn began; zero before
	leaseEnd time.Time // the lease does not end earlier

	// The revision of the current record when this flight first asked. If that
	// record was a result, it is too old: the callers may have called after its
	// load had ended. Results with higher revisions are new enough.
	asked  bool
	tooOld uint64

	awaited string // the token of the load elsewhere that this flight waits for
	lost    bool   // the load that it waited for was lost
}

type claimState int

const (
	claimNone    claimState = iota // none was sent, or the engine refused it
	claimUnknown                   // it was not answered: it may be stored, or may still arrive
	claimMade                      // it was stored
)

func newFlight[V any](g *Group[V], ctx context.Context, key string, fn func(context.Context) (V, error)) *flight[V] {
	return &flight[V]{group: g, ctx: ctx, key: key, fn: fn, view: newView(g.client, key)}
}

// acquire claims the key, and loads; or waits, if another load is pending.
func (f *flight[V]) acquire() (v V, err error) {
	f.newToken()
	if f.view.seen[current].State == pending {
		return f.await()
	}
	err = f.group.client.available()
	if err != nil {
		return f.withoutEngine(err)
	}
	f.claim, f.sent = claimUnknown, time.Now()
	// The claim is not canceled when the callers leave: if it is stored, this
	// flight has to know, and release the key.
	ctx := context.WithoutCancel(f.ctx)
	err = f.view.write(ctx, current, f.pending(), f.group.lease)
	switch {
	case err == nil:
		f.claim, f.leaseEnd = claimMade, f.sent.Add(f.group.lease)
	case errors.Is(err, engine.ErrTaken):
		f.claim = claimNone
		err = f.view.fetch(f.ctx, "")
		if err != nil {
			return f.withoutEngine(err)
		}
		f.firstAsked()
		return f.await()
	case neverSent(err), errors.Is(err, engine.ErrTooLarge):
		f.claim = claimNone
		return f.withoutEngine(err)
	case errors.Is(err, f.group.client.errSilent) && !f.group.required && f.ctx.Err() == nil:
		return f.withoutEngine(err) // and settle the claim while fn runs
	default:
		// Perhaps only the answer was lost.
		settled := f.settle(ctx)
		if settled != nil || f.claim != claimMade {
			return f.withoutEngine(err)
		}
	}
	f.firstAsked()
	if f.lost {
		f.lost = false
		f.group.takeovers.Add(1)
	}
	return f.load()
}

// newToken gives the flight a new load, which is not claimed yet.
func (f *flight[V]) newToken() { f.token, f.claim, f.began = rand.Text(), claimNone, time.Time{} }

func (f *flight[V]) pending() record {
	return record{State: pending, Token: f.token, Lease: f.group.lease.Milliseconds()}
}

// firstAsked sets tooOld, once.
func (f *flight[V]) firstAsked() {
	if !f.asked {
		f.asked, f.tooOld = true, f.view.seen[current].rev
	}
}

// withoutEngine loads for the callers in this process, or returns
// ErrUnavailable with RequireEngine.
func (f *flight[V]) withoutEngine(cause error) (v V, err error) {
	f.view.stopWatching()
	switch {
	case f.ctx.Err() != nil:
		err = f.ctx.Err()
	case f.group.required:
		err = fmt.Errorf("%w: %w", ErrUnavailable, cause)
	default:
		f.group.fallbacks.Add(1)
		return f.load()
	}
	if f.claim == claimUnknown {
		f.releaseLater()
	}
	return v, err
}

// await waits for the load that is under way elsewhere.
func (f *flight[V]) await() (v V, err error) {
	g := f.group
	r, err := f.outcome()
	if err != nil {
		f.newToken()
		return f.withoutEngine(err)
	}
	switch r.State {
	case free:
		return f.acquire()
	case failed:
		g.received.Add(1)
		return v, &RemoteError{Message: string(r.body)}
	case done:
		var got V
		err := g.codec.Unmarshal(r.body, &got)
		if err == nil {
			g.received.Add(1)
			return got, nil
		}
		g.warn("a value could not be decoded, so every process loads for itself", err)
	}
	// There is a value that this process cannot read.
	if g.required {
		f.awaited = ""
		return f.acquire() // so that one process loads after the other
	}
	f.detach() // a Forget could not find this load
	f.view.stopWatching()
	return f.run(f.ctx)
}

// outcome waits for the load that is pending, and returns the record of how it
// ended. A free record means that the load was lost, or that there is none: the
// caller has to claim the key.
func (f *flight[V]) outcome() (record, error) {
	v := f.view
	v.watch()
	down := v.engine.Down()
	// The holder renews its record every half lease. If a renewal is overdue,
	// the engine does not answer, or the watch is broken, or the holder has
	// died; then an update will say that its lease has ended.
	overdue := time.NewTimer(0)
	defer overdue.Stop()
	var heard uint64 // the revision that overdue was set for
	for {
		if f.awaited == "" {
			r := v.seen[current]
			if r.State.finished() && r.rev > f.tooOld {
				return r, nil // it began and ended since this flight first asked
			}
			if r.State != pending {
				return record{}, nil
			}
			f.awaited = r.Token
		}
		part, r := v.find(f.awaited)
		if r.State == free {
			// It is tempting to take the load for lost, but the update that
			// shows its new part may still be on its way.
			err := v.fetch(f.ctx, f.awaited)
			if err != nil {
				return record{}, err
			}
			part, r = v.find(f.awaited)
		}
		if r.State == free {
			f.awaited, f.lost = "", true
			continue // perhaps another load has begun, or ended, since
		}
		if r.State != pending {
			return r, nil
		}
		if part != current {
			f.detach()
		}
		if r.rev != heard {
			heard = r.rev
			overdue.Reset(r.lease() * 3 / 4)
		}
		select {
		case e, open := <-v.updates:
			v.handleUpdate(e, open)
			if !open {
				overdue.Reset(again)
			}
		case <-overdue.C:
			v.stopWatching() // it may be broken
			v.watch()
			err := v.fetch(f.ctx, f.awaited)
			if err != nil {
				return record{}, err
			}
			heard = 0
		case <-down:
			return record{}, errDown
		case <-f.ctx.Done():
			return record{}, f.ctx.Err()
		}
	}
}

// again is how long to wait before a request or a watch that failed is tried
// again.
const again = time.Second

// detach makes later callers in this process start a flight of their own.
//
// If a Forget in this process has already detached this flight, then callers may
// forget the flight that took its place. That costs one more flight, and breaks
// no promise.
func (f *flight[V]) detach() {
	if !f.detached {
		f.detached = true
		f.group.callers.Forget(f.key)
	}
}

// run calls fn. It returns when fn has returned, or when ctx is done, even if fn
// ignores that. A panic of fn is passed on with fn's stack, and a Goexit too.
func (f *flight[V]) run(ctx context.Context) (V, error) {
	v, err, _ := f.group.loads.DoContext(ctx, f.token, f.fn)
	return v, err
}
