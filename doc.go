// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package singleflight suppresses duplicate concurrent calls: one of them does
// the work, and all of them get its result.
//
// When a cache entry expires, every request for it goes to the database at
// once. With a [Group] in between, one load runs and the others share it:
//
//	var users singleflight.Group[int64, User] // the zero value is ready
//
//	func user(ctx context.Context, id int64) (User, error) {
//		u, err, _ := users.Fill(ctx, cache, id, func(ctx context.Context) (User, error) {
//			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
//			defer cancel()
//			return db.LoadUser(ctx, id)
//		})
//		return u, err
//	}
//
//	func saveUser(ctx context.Context, u User) error {
//		err := db.SaveUser(ctx, u)
//		users.Invalidate(cache, u.ID) // also after an error: it may have been saved
//		return err
//	}
//
// A Group itself keeps nothing: when a call has ended, the next one does the
// work again.
//
// # Which method to call
//
//   - [Group.Fill] and [Group.Invalidate] where a cache of this process keeps
//     what is loaded. Each caller waits on its own context; the load goes on
//     for the cache when they have left.
//   - [Group.DoContext] for work that is worth nothing when nobody waits for
//     it. Each caller waits on its own context, and the work is canceled when
//     the last one has left. Where the work takes longer than callers wait,
//     as it may in an overload, it is canceled every time and never done.
//   - [Group.DoChan] to wait in a select, or to start work now and wait for it
//     later. The work goes on if nobody receives the result: this is for work
//     that is worth finishing where there is no cache.
//   - [Group.Do] where callers do not give up. The first of them runs fn on its
//     own goroutine.
//   - [Group.Forget] after a change, so that no later call joins work that may
//     not have seen it.
//
// They mix freely on one key. [ShardedGroup] has the same methods, for many
// cores.
//
// # Rules for fn
//
// These hold for the fn of each method, and for the load of Fill.
//
// fn works for all callers. What it does may depend only on the key, and on
// what is the same for all of them. In particular, name its parameter ctx,
// so that it does not use the context of the caller by mistake: when that is
// canceled, the work would fail for everybody.
//
// fn may run longer than the call that started it. It must not use what
// belongs to that call and is taken back afterwards: the request and its body,
// a buffer from a pool, a transaction. The same is true of a Context that a
// framework uses again for the next request, as gin and fasthttp do: fn's
// context reads its values. Give such a Group a context that is not used
// again.
//
// What fn returns must not depend on its context, which may be canceled before
// callers have the result. Read a response body or sql.Rows inside fn.
//
// fn may be run again before an earlier run has ended: after Forget, and when
// the last caller of DoContext has left. There is no limit to the number of
// such runs, if fn ignores its context while clients come and go. Heed the
// context, or limit the runs with a semaphore inside fn.
//
// fn must not wait for its own flight, by calling the Group for its own key,
// directly or through the fn of another key. As with a mutex that is locked
// twice, such a call waits for ever, whatever the method, unless a time limit
// inside fn bounds it.
//
// Retries, a time limit, a fallback, a limit on the number of loads, a span
// for tracing: a Group has no options for them, since fn can do each of them,
// once for all callers.
//
// # Contexts
//
// The context of fn has the values of the first caller's context, but neither
// its deadline nor its cancellation. Values that fn depends on belong in the
// key, or else one caller's are used for all. To pass no values at all to fn:
//
//	type noValues struct{ context.Context }
//
//	func (noValues) Value(any) any { return nil }
//
//	v, err, _ := g.DoContext(noValues{ctx}, key, fn)
//
// A caller whose context is done first gets the zero value, ctx.Err() and
// shared false. fn may fail with context.DeadlineExceeded too, from a limit of
// its own. To tell the two apart, wrap the error inside fn.
//
// # Keys
//
// Keys match by ==. A key must hold everything that fn depends on, such as the
// user or the tenant, and nothing that differs from one request to the next.
// Make it a struct rather than a string that is joined from parts: it costs no
// allocation, and no two keys become one by accident.
//
// A key that does not equal itself (a NaN, or a struct or interface that holds
// one) is never shared. A key whose dynamic type cannot be compared panics in
// the call that brings it, and nowhere else.
//
// # Sharing
//
// All callers of a flight get the same value, not copies of it. Do not modify
// it. If you must, modify a copy where shared is true; after Fill, always.
//
// # Failure
//
// An error goes to all callers of the flight and is not remembered.
//
// A panic in fn becomes a panic on the goroutine of each caller, with a
// [*PanicError] that holds the value and the stack of fn. If a channel of
// DoChan waits for the flight, or no caller is left, the panic crashes the
// program, as in any go statement, with fn in the trace. Where that must not
// happen, recover inside fn and return an error. A nil fn fails like any
// fn that panics.
//
// [runtime.Goexit] in fn ends the goroutine of each caller, and a channel of
// DoChan receives [ErrGoexit].
//
// # Testing
//
// Every wait of this package is one that [testing/synctest] understands, in a
// package-level Group too, provided that the callers of a flight and their
// contexts belong to one bubble, or all to none. "Ten callers, one load" is
// then an equality in a test, without sleeping; the example Synctest shows it.
//
// # Origin
//
// The idea is that of groupcache's singleflight package and of
// golang.org/x/sync/singleflight, whose argument order this package keeps.
// What Invalidate does is known from memcache as a lease. Package dropin is for
// code that was written for x/sync.
//
// A Group works within one process. Package fleet, in a module of its own,
// does the same across processes.
package singleflight
