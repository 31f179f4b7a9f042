// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package singleflight suppresses duplicate concurrent calls: one of them does
// the work, and all get its result.
//
// When a cache entry expires, every request for it goes to the database at
// once. With a [Group] in between, one load runs and the others share it:
//
//	var users singleflight.Group[int64, User]
//
//	func user(ctx context.Context, id int64) (User, error) {
//		u, err, _ := users.DoContext(ctx, id, func(ctx context.Context) (User, error) {
//			return db.LoadUser(ctx, id)
//		})
//		return u, err
//	}
//
// Nothing is kept: when the load is over, the next call loads again. To keep
// a result, store it in a cache from within fn, and look there first, also
// within fn: a flight that has just ended may have stored it.
//
// # Which method to call
//
//   - [Group.DoContext] where callers may give up: each waits on its own
//     context, and the work is cancelled when nobody waits any more. This is
//     the one for servers.
//   - [Group.Do] where they may not. fn runs on the goroutine of whoever
//     comes first, and a call that nobody joins costs little more than the
//     two map operations that it takes.
//   - [Group.DoChan] to wait in a select among other things, or to start now
//     and wait later.
//   - [Group.Forget] after a write, so that no later reader joins a load that
//     may have read before it.
//
// They mix freely on one key. [ShardedGroup] has the same methods, for
// many cores.
//
// # Keys
//
// A flight serves everyone who brings its key, so the key has to hold all
// that fn depends on, the user or tenant included where fn looks at them,
// and nothing that differs from one request to the next. Make it a struct
// rather than a string joined from parts: it costs no allocation, and no two
// keys become one by accident.
//
// # Sharing
//
// All callers of a flight get the same value, not copies of it. Do not modify
// it; if you must, and shared is true, modify a copy.
//
// # Failure
//
// An error goes to all callers of the flight and is not remembered. A panic
// in fn becomes a panic in each caller's own goroutine, with a [*PanicError]
// that holds the value and the stack of fn, and [runtime.Goexit] in fn ends
// each caller's goroutine. If a DoChan channel waits for the flight, or every
// DoContext caller has left, a panic crashes the program instead, with fn in
// the trace.
//
// # What belongs inside fn
//
// Retries, a time limit on the load, a fallback, a semaphore that limits the
// loads of different keys, a span for tracing, the cache: a Group has no
// options for any of them, since fn can do them all, once for all callers.
//
// Read-your-own-writes is not promised by sharing. A load that began before
// a write may end, and fill a cache, after it. Put a version into the key;
// or call Forget after the write and, inside fn, store only if no write came
// in between, as the example Write shows.
//
// A call of Do from within fn that waits for fn's own flight, directly or
// through other flights, never returns. One of DoContext under fn's context
// unwinds when the callers outside have left.
//
// # Testing
//
// Every wait of this package is one that [testing/synctest] understands, in a
// package-level Group too, provided that the callers of a flight are all in
// one bubble or all in none. "Ten callers, one load" is then an equality in a
// test, with no sleeping; the example Synctest shows one.
//
// # Origin
//
// The idea is that of groupcache's singleflight package and of
// golang.org/x/sync/singleflight, whose argument order this package keeps.
// Package dropin is for code written for the latter.
//
// A Group works within one process. Package fleet, in a module of its own,
// does the same across processes.
package singleflight
