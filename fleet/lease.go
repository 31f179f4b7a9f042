// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"example.com/singleflight"
	"example.com/singleflight/fleet/internal/engine"
)

// load runs fn. If another load supersedes this one, load waits for the result
// of the other.
func (f *flight[V]) load() (V, error) {
	v, err, superseded := f.lead()
	if superseded {
		return f.await()
	}
	return v, err
}

// lead runs fn while keepLease tends the lease, and publishes how fn ended.
func (f *flight[V]) lead() (v V, err error, superseded bool) {
	f.began = time.Now()
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	stop := f.keepLease(cancel)
	returned := false
	defer func() {
		if returned {
			return
		}
		// fn panicked or exited, or the codec did. The other processes are told
		// first: if the panic ended this process before that, they would take
		// over, and panic in turn.
		p := recover() // nil after a Goexit
		stop()
		f.publish(record{State: failed, body: message(p)})
		if p != nil {
			panic(p)
		}
	}()
	v, err = f.run(ctx)
	var r record
	switch {
	case err == nil:
		r = f.success(v)
	case ctx.Err() == nil:
		r = record{State: failed, body: message(err)}
	}
	returned = true
	stop()
	switch {
	case r.State != free:
		return v, err, f.publish(r)
	case f.ctx.Err() != nil: // every caller has left
		f.publish(record{})
		return v, f.ctx.Err(), false
	}
	return v, err, true // keepLease has canceled ctx
}

// success returns the record of a value.
func (f *flight[V]) success(v V) record {
	body, err := f.group.codec.Marshal(v)
	if err != nil {
		f.group.warn("a value could not be encoded, so every process loads for itself", err)
		return record{State: withheld}
	}
	return record{State: done, body: body}
}

// maxMessage is how many bytes of an error's text are sent.
const maxMessage = 8 << 10

func message(of any) []byte {
	var s string
	switch of := of.(type) {
	case nil:
		s = singleflight.ErrGoexit.Error()
	case *singleflight.PanicError:
		s = fmt.Sprintf("panic: %v", of.Value) // and not the stack
	default:
		s = fmt.Sprint(of) // even if Error panics
	}
	return []byte(s[:min(len(s), maxMessage)])
}

// keepLease starts a goroutine that tends the lease while fn runs, and calls
// lose when another load has superseded this one. The goroutine has ended when
// stop returns.
func (f *flight[V]) keepLease(lose context.CancelFunc) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		if f.tendUntil(ctx) {
			lose()
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// tendUntil tends the lease until ctx is done, or until another load has
// superseded this one.
func (f *flight[V]) tendUntil(ctx context.Context) (superseded bool) {
	due := time.NewTimer(0)
	defer due.Stop()
	if f.claim == claimMade {
		f.view.watch()
		due.Reset(f.untilRenewal())
	}
	for {
		part, r := f.view.find(f.token)
		if part != current && r.State == pending {
			f.detach() // it was forgotten
		}
		select {
		case e, open := <-f.view.updates:
			f.view.handleUpdate(e, open)
			_, r := f.view.find(f.token)
			switch {
			case !open:
				due.Reset(f.untilRetry()) // which watches again
			case r.State != pending:
				due.Reset(0)
			}
		case <-due.C:
			var next time.Duration
			next, superseded = f.tend(ctx)
			if superseded {
				return true
			}
			due.Reset(next)
		case <-ctx.Done():
			return false
		}
	}
}

// tend does what is due for the lease, and returns how long to wait before it
// is called again.
//
// It detaches the flight in two cases. Either the engine answers, but has no
// record of the load, so that a Forget could not find it; or the engine has not
// answered the holder for a whole lease.
func (f *flight[V]) tend(ctx context.Context) (next time.Duration, superseded bool) {
	switch f.claim {
	case claimNone:
		err := f.group.client.available()
		if err == nil {
			err = f.view.fetch(ctx, "")
		}
		if err != nil {
			return f.untilRetry(), false
		}
		f.detach()
		return forever, false
	case claimUnknown:
		err := f.settle(ctx)
		if err != nil {
			return f.untilRetry(), false
		}
		if f.claim != claimMade {
			f.detach()
			return f.untilRetry(), false // the claim may still arrive
		}
		f.view.watch()
		return f.untilRenewal(), false
	}
	f.view.watch()
	err := f.renew(ctx)
	if err == nil {
		return f.untilRenewal(), false
	}
	if errors.Is(err, engine.ErrTaken) {
		err = f.view.fetch(ctx, f.token)
	}
	_, r := f.view.find(f.token)
	switch {
	case err != nil:
		if time.Now().After(f.leaseEnd) {
			f.detach()
		}
		return f.untilRetry(), false
	case r.State == pending: // the record was moved, or a renewal was stored whose answer was lost
		return 0, false
	case f.superseded():
		return 0, true
	}
	f.detach() // the lease is lost, and no other process has taken over
	return f.group.lease / 2, false
}

const forever = math.MaxInt64

// untilRetry returns how long to wait after a request that failed. It leaves
// time for several tries before the lease ends.
func (f *flight[V]) untilRetry() time.Duration { return min(again, f.group.lease/8) }

func (f *flight[V]) untilRenewal() time.Duration { return time.Until(f.leaseEnd) - f.group.lease/2 }

// renew renews the lease. It returns ErrTaken also if no pending record of the
// load is known.
func (f *flight[V]) renew(ctx context.Context) error {
	part, r := f.view.find(f.token)
	if r.State != pending {
		return engine.ErrTaken
	}
	sent := time.Now()
	// The request is not canceled when fn returns: its answer has the revision
	// that the result has to replace.
	err := f.view.write(context.WithoutCancel(ctx), part, f.pending(), f.group.lease)
	if err == nil {
		f.leaseEnd = sent.Add(f.group.lease)
	}
	return err
}

// superseded reports whether another load has the key.
func (f *flight[V]) superseded() bool {
	r := f.view.seen[current]
	return r.Token != "" && r.Token != f.token
}

// settle asks the engine whether the claim was stored. If that was before fn
// began, the lease is renewed at once, since part of it may have passed.
//
// If it was later, the claim is released. It is tempting to use it all the same,
// but fn may have read the database before a Forget that found no record, and
// calls after that Forget would join.
func (f *flight[V]) settle(ctx context.Context) error {
	err := f.view.fetch(ctx, f.token)
	if err != nil {
		return err
	}
	part, r := f.view.find(f.token)
	if r.State != pending {
		return nil // it was refused, or is still on its way
	}
	err = f.renew(ctx)
	if err != nil {
		return err
	}
	renewed := time.Now()
	if !f.began.IsZero() {
		err = f.view.fetchPart(ctx, part)
		if err != nil {
			return err
		}
		// The clocks of two servers of an engine may differ a little. So the
		// claim has to be stored in the first half of the time from its sending
		// to the beginning of fn.
		age := f.view.seen[part].time.Sub(r.time)
		early := f.sent.Add(f.began.Sub(f.sent) / 2)
		if renewed.Add(-age).After(early) {
			err = f.view.write(ctx, part, record{}, f.group.linger)
			if err == nil {
				f.claim = claimNone
			}
			return err
		}
	}
	f.claim = claimMade
	return nil
}

// publish replaces the pending record by r. A free r releases the key.
func (f *flight[V]) publish(r record) (superseded bool) {
	if f.claim == claimNone {
		return false
	}
	if r.State != free {
		r.Token = f.token
	}
	published := false
	if f.claim == claimMade {
		published, superseded = f.tryPublish(&r)
	}
	if !published && !superseded {
		f.releaseLater()
	}
	if f.claim == claimMade && r.State != free && !superseded && (!published || r.State == withheld) {
		f.group.unsent.Add(1)
	}
	return superseded
}

// tryPublish writes r, and makes sure that it is stored. If the value is too
// large for the engine, r becomes withheld.
func (f *flight[V]) tryPublish(r *record) (published, superseded bool) {
	v := f.view
	ctx := context.WithoutCancel(f.ctx) // some callers may have left, but the others wait
	const enough = 5                    // tries, even after a Forget and renewals whose answers were lost
	asked := false
	for range enough {
		part, there := v.find(f.token)
		switch {
		case there.State == pending:
			err := v.write(ctx, part, *r, f.group.linger)
			if err == nil {
				return true, false
			}
			if errors.Is(err, engine.ErrTooLarge) && r.State != withheld {
				f.group.warn("a value is too large, so every process loads for itself", err)
				*r = record{State: withheld, Token: f.token}
				continue
			}
		case there.State.finished():
			return true, false // it was stored, and only the answer was lost
		case asked:
			return false, f.superseded()
		}
		asked = true
		err := v.fetch(ctx, f.token)
		if err != nil {
			return false, false
		}
	}
	return false, false
}

// releaseLater tries for a lease, on another goroutine, to release a record that
// is no longer renewed, so that other processes need not wait for the end of its
// lease. The record may be a claim that is yet to arrive.
//
// It is tempting to publish the result again instead, but a caller may already
// have it and have called again, and must not get it a second time.
func (f *flight[V]) releaseLater() {
	g := f.group
	const enough = 100 // goroutines at a time; beyond that, leases end by themselves
	if g.releasing.Add(1) > enough {
		g.releasing.Add(-1)
		return
	}
	v := f.view.clone()
	ctx := context.WithoutCancel(f.ctx)
	token, mayArrive := f.token, f.claim == claimUnknown
	pause := f.untilRetry()
	go func() {
		defer g.releasing.Add(-1)
		for end := time.Now().Add(g.lease); time.Now().Before(end); time.Sleep(pause) {
			err := v.fetch(ctx, token)
			if err != nil {
				continue
			}
			part, r := v.find(token)
			if r.State == pending {
				err = v.write(ctx, part, record{}, g.linger)
			} else if mayArrive {
				continue
			}
			if err == nil {
				return
			}
		}
	}()
}
