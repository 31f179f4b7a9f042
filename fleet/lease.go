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

// load runs fn. If another load has superseded that one, it waits for the
// other's result.
func (f *flight[V]) load() (V, error) {
	v, err, superseded := f.lead()
	if !superseded {
		return v, err
	}
	f.newToken()
	return f.await()
}

// lead runs fn while keepLease renews the lease, and publishes how fn ended.
func (f *flight[V]) lead() (v V, err error, superseded bool) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	stop := f.keepLease(cancel)
	returned := false
	defer func() {
		if returned {
			return
		}
		// fn panicked or exited. The others have to hear of it first: if the
		// panic ends this process, they would take over and end in turn.
		p := recover() // nil if fn exited
		stop()
		f.publish(record{State: failed, body: message(p)})
		if p != nil {
			panic(p)
		}
	}()
	v, err = f.run(ctx)
	returned = true
	stop()
	switch {
	case err == nil:
		return v, nil, f.publish(f.success(v))
	case ctx.Err() == nil:
		return v, err, f.publish(record{State: failed, body: message(err)})
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

// maxMessage is how much of an error's text is sent.
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
		due := time.NewTimer(0) // to find out about the claim
		defer due.Stop()
		if f.claimed == claimed {
			f.view.watch()
			due.Reset(time.Until(f.leaseEnd) - f.group.lease/2)
		}
		for {
			select {
			case e, open := <-f.view.updates:
				f.view.handleUpdate(e, open)
				part, r := f.view.find(f.token)
				if part != now && r.State == pending {
					f.detach() // it was forgotten
				}
				if r.State != pending {
					due.Reset(0)
				}
			case <-due.C:
				next, superseded := f.tend(ctx)
				if superseded {
					lose()
					return
				}
				due.Reset(next)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// tend does what is due for the lease, and returns when to do it again.
//
// It detaches the flight wherever the engine answers but has no record of the
// load that a Forget could find, or has not answered for a lease.
func (f *flight[V]) tend(ctx context.Context) (next time.Duration, superseded bool) {
	begun := time.Now()
	retry := func() time.Duration { return min(again, f.group.lease/8) - time.Since(begun) }
	switch f.claimed {
	case unclaimed:
		if f.group.client.available() != nil || f.view.fetch(ctx, "") != nil {
			return retry(), false
		}
		f.detach()
		return never, false
	case unanswered:
		if f.settleClaim(ctx) != nil {
			return retry(), false
		}
		if f.claimed == claimed {
			return 0, false // nobody knows when its lease began
		}
		f.detach()
		return retry(), false // it may still arrive
	}
	f.view.watch()
	err := f.renew(ctx)
	if errors.Is(err, engine.ErrTaken) {
		err = f.view.fetch(ctx, f.token)
		part, r := f.view.find(f.token)
		switch {
		case err != nil:
		case r.State == pending && part == now:
			return 0, false // a renewal of ours whose answer was lost
		case r.State == pending:
			f.detach()
			return 0, false
		case f.superseded():
			return 0, true
		default: // the lease is lost, and nobody has taken over
			f.detach()
			return f.group.lease / 2, false
		}
	}
	if err != nil {
		if time.Now().After(f.leaseEnd) {
			f.detach()
		}
		return retry(), false
	}
	return time.Until(f.leaseEnd) - f.group.lease/2, false
}

const never = math.MaxInt64

// renew begins the lease anew. The error is ErrTaken also where the record is
// not known to be there.
func (f *flight[V]) renew(ctx context.Context) error {
	part, r := f.view.find(f.token)
	if r.State != pending {
		return engine.ErrTaken
	}
	sent := time.Now()
	// Not given up when fn returns: the answer has the revision that the result
	// has to replace.
	if err := f.view.write(context.WithoutCancel(ctx), part, f.pending(), f.group.lease); err != nil {
		return err
	}
	f.leaseEnd = sent.Add(f.group.lease)
	return nil
}

// superseded reports whether another load has the key.
func (f *flight[V]) superseded() bool {
	r := f.view.seen[now]
	return r.Token != "" && r.Token != f.token && r.State != moved
}

// settleClaim asks the engine whether the claim got through. If it did, but is
// not known to be there within a lease, the claim is released.
//
// It is tempting to use it all the same. But the load may have begun before a
// Forget that found nothing, and left a record for a lease; a claim that
// arrives after that would let later callers join.
func (f *flight[V]) settleClaim(ctx context.Context) error {
	if err := f.view.fetch(ctx, f.token); err != nil {
		return err
	}
	part, r := f.view.find(f.token)
	switch {
	case r.State != pending:
		return nil // it was refused, or is still on its way
	case time.Since(f.sent) < f.group.lease:
		f.claimed, f.leaseEnd = claimed, f.sent.Add(f.group.lease)
		return nil
	}
	err := f.view.write(ctx, part, record{}, f.group.linger)
	if err == nil {
		f.claimed = unclaimed
	}
	return err
}

// publish replaces the pending record by r. One that is free releases the key.
func (f *flight[V]) publish(r record) (superseded bool) {
	switch f.claimed {
	case unclaimed:
		return false
	case unanswered:
		f.releaseLater()
		return false
	}
	unsent := func() {
		if r.State != free {
			f.group.unsent.Add(1)
		}
	}
	if r.State != free {
		r.Token = f.token
	}
	v := f.view
	ctx := context.WithoutCancel(f.ctx) // some callers may have left, but the others wait
	const enough = 5                    // more than renewals whose answer was lost, and a Forget
	for range enough {
		part, there := v.find(f.token)
		var err error
		switch {
		case there.State == pending:
			err = v.write(ctx, part, r, f.group.linger)
			if errors.Is(err, engine.ErrTooLarge) && r.State != withheld {
				f.group.warn("a value is too large, so every process loads for itself", err)
				r.State, r.body = withheld, nil
				continue
			}
			if err == nil && r.State == withheld {
				unsent()
			}
			if err == nil {
				return false
			}
		case there.State.finished(): // by a write whose answer was lost
			return false
		case v.fresh:
			if f.superseded() {
				return true
			}
			unsent()
			return false
		}
		if v.fetch(ctx, f.token) != nil {
			break
		}
		if _, r := v.find(f.token); errors.Is(err, engine.ErrTaken) && r.rev == there.rev {
			break // by a write of ours that is not decided yet
		}
	}
	unsent()
	f.releaseLater()
	return false
}

// releaseLater goes on trying, on another goroutine, to release a record that
// is not renewed any more, so that the others need not wait for the end of
// its lease. A claim that was not answered may still arrive.
//
// It is tempting to publish the result once more instead. But somebody may have
// had it here, and called again.
func (f *flight[V]) releaseLater() {
	v := f.view.clone()
	ctx := context.WithoutCancel(f.ctx)
	token, mayArrive := f.token, f.claimed == unanswered
	lease, linger := f.group.lease, f.group.linger
	go func() {
		for end := time.Now().Add(lease); time.Now().Before(end); time.Sleep(again) {
			err := v.fetch(ctx, token)
			part, r := v.find(token)
			switch {
			case errors.Is(err, engine.ErrClosed):
				return
			case err != nil:
			case r.State == pending:
				if v.write(ctx, part, record{}, linger) == nil {
					return
				}
			case !mayArrive:
				return
			}
		}
	}()
}
