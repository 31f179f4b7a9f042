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
// stopped or cut off overwrites nothing that it has not seen. What the record
// of a key may become, and by whom:
//
//	from                     to        by
//	free, moved, finished    pending   a flight: its claim
//	pending                  pending   the holder: a renewal, each half lease
//	pending                  finished  the holder: how fn ended
//	pending                  free      the holder: its last caller has left
//	pending                  free      the engine: the lease has ended
//	any                      moved     Forget
//	moved, finished          free      the engine: nobody needs it any more
//
// Finished is done, failed or withheld. Before Forget replaces a pending or
// finished record it copies it to a part of its own, called by the load's
// token. There the same holds, but for claims: the holder goes on with the
// copy, and those who wait for that load follow it.
//
// A load that began before a Forget must not be joined after it. So:
//   - Forget replaces whatever is there, even nothing: a claim that is still on
//     its way names a revision that is no longer there. What Forget writes
//     stays for a lease.
//   - A claim that is not known to have got through within a lease is not used
//     (see [flight.settleClaim]): it may have come after what Forget wrote.
//   - A load that no record tells of, because it runs without the engine or its
//     lease was lost, is joined only until the engine answers: see
//     [flight.keepLease].

// A flight answers all those who ask for a key in this process at one time. Its
// steps call each other: claim, then load or await, and withoutEngine where
// the engine does not answer.
//
// It belongs to one goroutine, and to the one of keepLease while fn runs.
type flight[V any] struct {
	group *Group[V]
	ctx   context.Context // done when every caller has left
	key   string
	fn    func(context.Context) (V, error)
	view  *view

	// The load that this flight asks the engine to let it run.
	token    string
	claimed  claimState
	sent     time.Time // when the claim was sent
	leaseEnd time.Time // when the lease ends at the earliest, as far as is known here

	// A finished record that was there when this flight first asked is too old
	// for its callers: its load may have ended before they called. Later ones
	// are of loads that were pending then, or that began since.
	asked  bool
	tooOld uint64

	awaited string // the token of the load elsewhere that this flight waits for
	lost    bool   // such a load was lost
}

type claimState int

const (
	unclaimed  claimState = iota // none was sent, or the engine refused it
	unanswered                   // it may be there, or may still arrive
	claimed                      // it got through
)

func newFlight[V any](g *Group[V], ctx context.Context, key string, fn func(context.Context) (V, error)) *flight[V] {
	return &flight[V]{group: g, ctx: ctx, key: key, fn: fn, view: newView(g.client, key)}
}

// claim asks the engine for the key, and loads or waits.
func (f *flight[V]) claim() (v V, err error) {
	f.newToken()
	if f.view.seen[now].State == pending {
		return f.await()
	}
	if err := f.group.client.available(); err != nil {
		return f.withoutEngine(err)
	}
	f.claimed, f.sent = unanswered, time.Now()
	// Not given up when the callers leave: the key might be claimed, and nobody
	// would know to release it.
	ctx := context.WithoutCancel(f.ctx)
	err = f.view.write(ctx, now, f.pending(), f.group.lease)
	switch {
	case err == nil:
		f.claimed, f.leaseEnd = claimed, f.sent.Add(f.group.lease)
		f.firstAsked()
	case errors.Is(err, engine.ErrTaken):
		f.claimed = unclaimed
		if err := f.view.fetch(f.ctx, ""); err != nil {
			return f.withoutEngine(err)
		}
		f.firstAsked()
		return f.await()
	case neverSent(err), errors.Is(err, engine.ErrTooLarge):
		f.claimed = unclaimed
		return f.withoutEngine(err)
	case f.group.required || f.ctx.Err() != nil:
		// Perhaps only the answer was lost. Nobody is to load without knowing.
		if f.settleClaim(ctx) != nil || f.claimed != claimed {
			f.releaseLater()
			f.claimed = unclaimed
			return f.withoutEngine(err)
		}
		f.firstAsked()
	default:
		return f.withoutEngine(err) // and settle the claim meanwhile
	}
	if f.lost {
		f.group.takeovers.Add(1)
	}
	return f.load()
}

// newToken gives the flight a load that nobody has heard of.
func (f *flight[V]) newToken() { f.token, f.claimed = rand.Text(), unclaimed }

func (f *flight[V]) pending() record {
	return record{State: pending, Token: f.token, Lease: f.group.lease.Milliseconds()}
}

// firstAsked notes, once, what is too old.
func (f *flight[V]) firstAsked() {
	if !f.asked {
		f.asked, f.tooOld = true, f.view.seen[now].rev
	}
}

// withoutEngine loads for the callers in this process, if it may.
func (f *flight[V]) withoutEngine(cause error) (v V, err error) {
	switch {
	case f.ctx.Err() != nil:
		return v, f.ctx.Err()
	case f.group.required:
		return v, fmt.Errorf("%w: %w", ErrUnavailable, cause)
	}
	f.group.fallbacks.Add(1)
	return f.load()
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
		return f.claim()
	case failed:
		g.received.Add(1)
		return v, &RemoteError{Message: string(r.body)}
	case done:
		var got V
		if err := g.codec.Unmarshal(r.body, &got); err == nil {
			g.received.Add(1)
			return got, nil
		}
		g.warn("a value could not be decoded, so every process loads for itself", err)
	}
	// There is a value, but not for this process.
	if g.required {
		f.awaited = ""
		return f.claim() // so that one process loads after the other
	}
	f.newToken()
	f.detach() // a Forget could not find this load
	f.view.stopWatching()
	return f.run(f.ctx)
}

// outcome waits, and returns how the load ended that is pending now. It
// returns a free record if that load was lost, or if there is none: the key
// is to be claimed.
func (f *flight[V]) outcome() (record, error) {
	v := f.view
	v.watch()
	down := v.engine.Down()
	// The holder renews its record at half its lease. When the news of that is
	// overdue, either the engine does not answer, or the watch is broken, or
	// the holder has died; and then the news will be that its lease has ended.
	overdue := time.NewTimer(0)
	defer overdue.Stop()
	var last uint64
	for {
		if f.awaited == "" {
			r := v.seen[now]
			if r.State.finished() && r.rev > f.tooOld {
				return r, nil // it began and ended since this flight first asked
			}
			if r.State != pending {
				return record{}, nil
			}
			f.awaited = r.Token
		}
		part, r := v.find(f.awaited)
		if r.State == free && !v.fresh {
			// It is tempting to take it for lost. But the news of where it has
			// gone may be behind.
			if err := v.fetch(f.ctx, f.awaited); err != nil {
				return record{}, err
			}
			part, r = v.find(f.awaited)
		}
		switch r.State {
		case free:
			f.awaited, f.lost = "", true
			return record{}, nil
		case done, failed, withheld:
			return r, nil
		}
		if part != now {
			f.detach()
		}
		if r.rev != last {
			last = r.rev
			overdue.Reset(r.lease() * 3 / 4)
		}
		select {
		case e, open := <-v.updates:
			if v.handleUpdate(e, open); !open {
				overdue.Reset(again)
			}
		case <-overdue.C:
			v.stopWatching() // it may be broken
			v.watch()
			if err := v.fetch(f.ctx, f.awaited); err != nil {
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

// detach makes later callers in this process start a flight of their own.
func (f *flight[V]) detach() {
	if f.group.joinable.CompareAndDelete(f.key, f) {
		f.group.callers.Forget(f.key)
	}
}

// run calls fn. It returns when fn has, or when ctx is done, even if fn does
// not heed that. A panic of fn is passed on with fn's stack, and a Goexit too.
func (f *flight[V]) run(ctx context.Context) (V, error) {
	v, err, _ := f.group.loads.DoContext(ctx, f.token, f.fn)
	return v, err
}
