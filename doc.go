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
//     the last one has left. In an overload, work often takes longer than
//     callers wait. It is then canceled each time, and never finishes.
//   - [Group.DoChan] to wait in a select, or to start work now and wait for it
//     later. The work goes on if nobody receives the result: this is for work
//     that is worth finishing where there is no cache.
//   - [Group.Do] where callers do not give up. The first of them runs fn on its
//     own goroutine.
//   - [Group.Forget] after a change, so that no later call joins work that may
//     not have seen it.
//
// All of them may be used on one key at the same time. [ShardedGroup] has the
// same methods, for many cores.
//
// # Rules for fn
//
// These hold for the fn of each method, and for the load of Fill.
//
// fn works for all callers. What it does may depend only on the key, and on
// what is the same for all of them. In particular, name its parameter ctx, so
// that it hides the caller's. If fn used that one by mistake, its cancellation
// would fail the work for everybody.
//
// fn may run longer than the call that started it. It must not use what
// belongs to that call and is taken back afterwards: the request and its body,
// a buffer from a pool, a transaction. Nor may the ctx that you pass be one that
// a framework uses again for the next request, as those of gin and fasthttp
// are: fn's context reads its values. Pass a context that is not used again.
//
// What fn returns must not depend on its context, which DoContext cancels before
// callers have the result. Read a response body or sql.Rows inside fn.
//
// fn may be run again before an earlier run has ended: after Forget, and when
// the last caller of DoContext has left. There is no limit to the number of
// such runs, if fn ignores its context while clients come and go. Heed the
// context, or limit the runs with a semaphore inside fn. fn may also start when
// all callers have left already, with a context that is done.
//
// fn may call the Group for other keys, and may forget its own. It must not wait
// for its own flight, by calling the Group for its own key, directly or through
// the fn of another key. As with a mutex that is locked twice, such a call waits
// forever, whatever the method, unless a time limit inside fn bounds it.
//
// Retries, a time limit, a fallback, a limit on the number of loads, a span
// for tracing: a Group has no options for them, since fn can do each of them,
// once for all callers.
//
// # Contexts
//
// The context of fn has the values of the first caller's context, but neither
// its deadline nor its cancellation; where fn runs on the caller's goroutine, it
// is the caller's context itself. Values that fn depends on belong in the key,
// or else one caller's are used for all. To pass no values at all to fn, pass
// noValues{ctx}, and to pass on only some of them, let Value return only those:
//
//	type noValues struct{ context.Context }
//
//	func (noValues) Value(any) any { return nil }
//
// A caller whose context is done first gets the zero value, ctx.Err() and
// shared false. fn may fail with context.DeadlineExceeded too, from a limit of
// its own. To tell the two apart, let fn return a wrapped error: then only a
// caller that has left gets an error that is equal to ctx.Err() by ==, which is
// not what errors.Is asks.
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
// it. If you must, copy it first where shared is true. The value of a key that
// is used with Fill may be in the cache, whichever method returned it and
// whatever shared says: there, always copy it first.
//
// # Failure
//
// An error goes to all callers of the flight and is not remembered: the next
// call runs fn again. To keep "not found" in a cache, return it as a value.
//
// A panic in fn becomes a panic on the goroutine of each caller, with a
// [*PanicError] that holds the value and the stack of fn. If a channel of
// DoChan waits for the flight, or no caller is left, the panic crashes the
// program, as in any go statement, with fn in the trace. Where that must not
// happen, recover inside fn and return an error:
//
//	func(ctx context.Context) (u User, err error) {
//		defer func() {
//			if p := recover(); p != nil {
//				err = fmt.Errorf("loading user %d: %v", id, p)
//			}
//		}()
//		return db.LoadUser(ctx, id)
//	}
//
// A nil fn fails like any fn that panics.
//
// [runtime.Goexit] in fn ends the goroutine of each caller, and a channel of
// DoChan receives [ErrGoexit].
//
// # Testing
//
// Every wait of this package is one that [testing/synctest] understands, in a
// package-level Group too, provided that the callers of a flight, their
// contexts, and those who forget its key belong to one bubble, or all to none.
// "Ten callers, one load" is then an equality in a test, without sleeping; the
// example Synctest shows it.
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
