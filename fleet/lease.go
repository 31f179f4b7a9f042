// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"example.com/singleflight"
)

// How this process's load stands with the engine.
type standing int

const (
	adrift     standing = iota // nothing is there: never agreed to, or the lease ran out and nobody took over
	held                       // pending, and ours
	settled                    // ended, by us
	superseded                 // another load has the key
)

// stand says how the load stands, by what was seen, and under which name.
func (f *flight[V]) stand() (name string, s standing) {
	name, r := now, f.seen[now]
	if r.Token != f.token || r.State == moved {
		if own := f.seen[f.token]; own.State != free {
			name, r = f.token, own // it was forgotten, and has moved
		}
	}
	switch {
	case r.Token == f.token && r.State == pending:
		return name, held
	case r.Token == f.token && r.State != moved:
		return name, settled
	case f.claimed && r.Token != "" && r.Token != f.token:
		return name, superseded
	}
	return name, adrift
}

// load runs fn, and waits for another load if that has superseded this one.
func (f *flight[V]) load() (V, error) {
	v, err, final := f.lead()
	if final {
		return v, err
	}
	f.token, f.sent, f.claimed = rand.Text(), false, false
	return f.await()
}

// lead runs fn while a keeper renews the lease, and publishes how fn ended.
// It is final unless another load has superseded this one.
func (f *flight[V]) lead() (v V, err error, final bool) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	stop := f.keep(cancel)
	ended := false
	defer func() {
		if ended {
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
	var r record
	switch {
	case err == nil:
		r = f.success(v)
	case ctx.Err() == nil:
		r = record{State: failed, body: message(err)}
	}
	ended = true
	stop()

	switch {
	case r.State != free:
		return v, err, f.publish(r)
	case f.ctx.Err() != nil: // every caller has left
		f.publish(record{})
		return v, f.ctx.Err(), true
	}
	return v, err, false
}

// success is the record of a value.
func (f *flight[V]) success(v V) record {
	body, err := f.codec.Marshal(v)
	if err != nil {
		f.warn("a value could not be encoded, so every process loads for itself", err)
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

// keep starts the keeper, which renews the lease and hears the news, and
// calls lose when another load has superseded this one. The returned stop
// ends it, and returns when it has ended.
func (f *flight[V]) keep(lose context.CancelFunc) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		renewal := time.NewTimer(f.lease / 2)
		defer renewal.Stop()
		if !f.claimed {
			renewal.Reset(0) // whether it is will be read back
		}
		f.watch()
		for {
			name, s := f.stand()
			if s == superseded && f.look(ctx, f.token) == nil {
				// Asked, since the news of where a forgotten load has gone
				// may be behind.
				name, s = f.stand()
				if s == superseded {
					lose()
					return
				}
			}
			if s == held && name != now {
				f.leave()
			}
			select {
			case e, open := <-f.updates:
				f.news(e, open)
			case <-renewal.C:
				next := f.lease / 2
				if f.renew(ctx) != nil {
					next = f.lease / 8 // there are some tries before it is over
				}
				renewal.Reset(next)
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

// renew begins the lease anew, or reads back whether there is one.
func (f *flight[V]) renew(ctx context.Context) error {
	name, s := f.stand()
	if s != held {
		return f.look(ctx, f.token)
	}
	// Not broken off when fn ends, since the answer has the revision that the
	// result has to replace.
	r := f.pending()
	var err error
	r.rev, err = f.engine.write(context.WithoutCancel(ctx), f.name(name), f.seen[name].expect(), r, f.lease)
	if err == nil {
		f.note(name, r)
	} else if errors.Is(err, errTaken) {
		f.look(ctx, f.token)
	}
	return err
}

// publish replaces the pending record by r; one that is free releases the
// key. It is final unless another load has superseded this one.
func (f *flight[V]) publish(r record) (final bool) {
	if !f.claimed {
		f.letGo() // in case it is, and nobody knows
		return true
	}
	ctx := context.WithoutCancel(f.ctx) // some callers may have left, but the others wait
	r.Token = f.token
	unsent := func() {
		if r.State != free {
			f.unsent.Add(1)
		}
	}
	asked := false
	const enough = 5 // more than renewals whose answer was lost, and a Forget
	for range enough {
		name, s := f.stand()
		last := f.seen[name].rev
		var err error
		switch {
		case s == settled:
			if r.State == withheld {
				unsent()
			}
			return true
		case s == held:
			r.rev, err = f.engine.write(ctx, f.name(name), f.seen[name].expect(), r, f.linger)
			if err == nil {
				f.note(name, r)
				continue
			}
			if errors.Is(err, errTooLarge) && r.State != withheld {
				f.warn("a value is too large, so every process loads for itself", err)
				r.State, r.body = withheld, nil
				continue
			}
		case asked:
			if s == adrift {
				unsent()
			}
			return s == adrift
		}
		// It is tempting to believe it, where it does not seem to be ours any
		// more. But the news may be late, or behind.
		if asked = true; f.look(ctx, f.token) != nil {
			break
		}
		if errors.Is(err, errTaken) && f.seen[name].rev == last {
			break // by a write of ours that is not decided yet
		}
	}
	unsent()
	f.letGo()
	return true
}

// letGo goes on trying, on another goroutine, to release a record that is not
// renewed any more, for as long as it may be there, so that the others need
// not wait for its end.
//
// It is tempting to publish the result once more instead. But somebody may have
// had it here, and called again.
func (f *flight[V]) letGo() {
	old := *f
	old.seen = maps.Clone(f.seen)
	go func() {
		ctx := context.WithoutCancel(old.ctx)
		for end := time.Now().Add(old.lease); time.Now().Before(end) && !old.engine.js.Conn().IsClosed(); time.Sleep(again) {
			if old.look(ctx, old.token) != nil {
				continue
			}
			name, s := old.stand()
			if s != held {
				return
			}
			if _, err := old.engine.write(ctx, old.name(name), old.seen[name].expect(), record{}, old.linger); err == nil {
				return
			}
		}
	}()
}
