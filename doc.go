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
//			ctx, cancel := context.WithTimeout(ctx, 5*time.Second) // the time limit of the load
//			defer cancel()
//			return db.LoadUser(ctx, id)
//		})
//		return u, err
//	}
//
//	func saveUser(ctx context.Context, u User) error {
//		err := db.SaveUser(ctx, u)
//		users.Invalidate(cache, u.ID) // even after an error: it may have been saved
//		return err
//	}
//
// A Group is not a cache: once a call has returned, the next call for its key
// does the work again.
//
// # Which method to call
//
//   - [Group.Fill] and [Group.Invalidate], if a cache in this process keeps what
//     is loaded. Each caller waits only as long as its own context allows. The
//     load continues for the cache after its callers have left.
//   - [Group.DoContext], if the work is worth nothing once nobody waits for it.
//     Each caller waits only as long as its own context allows, and the work is
//     canceled when the last caller leaves. In an overload, work often takes
//     longer than callers wait; it is then canceled each time and never finishes.
//   - [Group.DoChan], to wait in a select statement, or to start work now and
//     receive its result later. The work continues even if nobody receives the
//     result, so DoChan is also for work that is worth finishing without a cache.
//   - [Group.Do], if callers do not give up. The first caller runs fn on its own
//     goroutine.
//   - [Group.Forget], after a change, so that no later call joins work that may
//     not have seen the change.
//
// All of them may be used on one key at the same time. [ShardedGroup] has the
// same methods, for many cores.
//
// # Rules for fn
//
// These rules apply to the fn of each method and to the load of Fill. One
// execution of fn for a key is called a flight.
//
// fn works for all callers. What it does may depend only on the key and on
// state that is the same for all of them. Name its parameter ctx, so that it
// hides the caller's ctx: if fn used that one by mistake, the cancellation of
// one caller would fail the work for all.
//
// fn may run longer than the call that started it. It must not use anything
// that is taken back when that call returns, such as the request and its body, a
// buffer from a pool, or a transaction. Because fn's context reads the values of
// ctx, ctx must not be taken back either. Some frameworks, such as gin and
// fasthttp, use their context again for the next request: do not pass it.
//
// The result of fn must not depend on fn's context, because DoContext cancels
// that context before the callers get the result. Read a response body or
// sql.Rows inside fn.
//
// fn may be run again before an earlier run has ended: after Forget, and after
// the last caller of DoContext has left. If fn ignores its context while clients
// come and go, the number of such runs has no limit. Return when the context is
// canceled, or limit the runs with a semaphore inside fn. If all callers leave
// early enough, fn may even start with a canceled context.
//
// fn may call the Group for other keys, and may forget its own key. It must not
// wait for its own flight by calling the Group for its own key, directly or
// through the fn of another key. As with a mutex that is locked twice, such a
// call waits forever, in every method, unless a time limit inside fn ends it.
//
// Retries, a time limit, a fallback, a limit on the number of loads, and a span
// for tracing belong inside fn, which does each of them once for all callers. A
// Group has no options for them.
//
// # Contexts
//
// The context of fn has the values of the first caller's context, but neither
// its deadline nor its cancellation. If fn runs on the caller's goroutine, its
// context is the caller's context itself. Values that fn depends on belong in
// the key; otherwise one caller's values are used for all. To pass no values to
// fn, pass noValues{ctx}. To pass only some of them, let Value return only those:
//
//	type noValues struct{ context.Context }
//
//	func (noValues) Value(any) any { return nil }
//
// A caller whose context is done before the flight ends gets the zero value,
// ctx.Err(), and shared false. fn may also fail with context.DeadlineExceeded,
// from a time limit of its own. To tell the two apart, let fn wrap its errors.
// Then err == ctx.Err() is true only for a caller that has left, whereas
// errors.Is(err, ctx.Err()) may be true for both.
//
// # Keys
//
// Keys match by ==. A key must hold everything that fn depends on, such as the
// user or the tenant, and nothing that differs between requests for the same
// result. Use a struct rather than a string that is joined from parts: a struct
// costs no allocation, and two different keys cannot become one by accident.
//
// A key that is not equal to itself (a NaN, or a struct or interface that holds
// one) is never shared. A key whose dynamic type cannot be compared panics in
// the call that passes it and affects no other call.
//
// # Sharing
//
// All callers of a flight get the same value, not copies of it. Do not modify
// it. If you must, copy it first if shared is true. The value of a key that is
// used with Fill may also be in the cache, whichever method returned it and
// whatever shared says: always copy such a value first.
//
// # Failure
//
// An error goes to all callers of the flight and is not remembered: the next
// call runs fn again. To keep "not found" in a cache, return it as a value with
// a nil error.
//
// A panic in fn becomes a panic on the goroutine of each caller, with a
// [*PanicError] that holds the value and the stack of fn. If a channel of
// DoChan waits for the flight, or if no caller is left, the panic crashes the
// program instead, as in any go statement, with fn in the trace. To prevent
// that, recover inside fn and return an error:
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
// [runtime.Goexit] in fn ends the goroutine of each caller, and each channel of
// DoChan receives [ErrGoexit].
//
// # Testing
//
// A goroutine that waits for a flight is durably blocked, as [testing/synctest]
// calls it, even in a package-level Group, provided that the callers of the
// flight, their contexts, and the calls that forget its key belong to one
// bubble, or all to none. A test can then check, without sleeping, that ten
// callers cause exactly one load. The example Synctest shows how.
//
// # Origin
//
// The idea comes from groupcache's singleflight package and from
// golang.org/x/sync/singleflight, whose argument order this package keeps.
// What Invalidate does is known from Facebook's memcache, as a lease. Package
// dropin is for code that was written for x/sync.
//
// A Group works within one process. Package fleet, in a module of its own,
// does the same across processes.
package singleflight
