// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package fleet suppresses duplicate calls across processes: one of them does
// the work, and the callers in all of them get its result.
//
// In one process a singleflight.Group makes one load of ten thousand; a
// service that runs on fifty machines still makes fifty. Where that is too
// many, this package has the processes agree on one, over NATS JetStream:
//
//	var js jetstream.JetStream // connected
//	users, err := fleet.New[User](ctx, js, "users")
//	…
//	u, err, _ := users.DoContext(ctx, id, func(ctx context.Context) (User, error) {
//		return db.LoadUser(ctx, id)
//	})
//
// The bucket has to be there; [CreateBucket] makes it. In front of the engine
// is a singleflight.Group, so that a process asks it once for all its callers
// of a key.
//
// # What is promised
//
// One load of a key in all processes, while the process that loads keeps its
// lease. It is not “exactly once”: no lease can promise that to a process
// that is stopped, or cut off from the engine, and does not know it. fn has to
// bear being run twice at a time.
//
// All else is as in a singleflight.Group. Nothing is kept: a call that finds
// a result already there loads anew; and the engine has a result before any
// caller has. One limit is new. That a load has ended, or was forgotten, is
// news to the processes that run it or wait for it, and who calls there before
// the news still joins. That is a message's way, as a rule. At worst, where the
// news is held up, it is until the process asks the engine itself: three
// quarters of the lease after it last heard of the load, and an EngineTimeout;
// and if it was stopped meanwhile, as long again.
//
// Every wait ends when the caller's context is done.
//
// # The lease
//
// The process that loads holds the key's record in the bucket, and renews it
// at half the [Lease] while fn runs, however long that is. Nobody polls:
// those who wait watch the record, and the engine announces when it expires.
//
//   - The process dies: its record expires, and one of those who wait takes
//     over, within the lease and a second.
//   - It is stopped for longer than the lease, by a signal, the scheduler, a
//     virtual machine that moves: the same. When it goes on, its writes to the
//     bucket are rejected, since each names the revision that it replaces; the
//     context of fn is canceled, and its callers get the result of the newer
//     load, now or when it is there. What fn itself writes elsewhere, to a
//     cache say, nobody rejects.
//   - Its last caller leaves: fn is canceled, the record is released, and one
//     of those who wait takes over at once.
//   - fn fails or panics: the others are told, and do not take over. The next
//     call loads.
//
// Only the engine's clock counts; those of the processes may differ.
//
// # Without the engine
//
// A process to which the engine does not answer loads for itself, once for
// all its callers, and counts it in [Stats]; with [RequireEngine] the callers
// get [ErrUnavailable]. It finds out at once if the connection says that it is
// closed or reconnecting, and otherwise within the [EngineTimeout], for each
// request and for a renewal that is overdue. The next call asks the engine
// again. (Connect with nats.MaxReconnects(-1): by default the client gives up
// for good after some minutes.)
//
//   - A process is cut off: it loads for itself. If it held a key, it goes on
//     and gives its callers what it found; the others take over when the
//     lease has ended. So there are two loads, on the two sides.
//   - Two of three nodes are down: the bucket cannot be written, and every
//     process is on its own until there are two again.
//   - One of three is down: the clients that were connected to it fall back
//     for the calls that wait at that moment. If it led the bucket and was
//     not shut down but killed, nothing can be written until another is
//     elected, some seconds; keys that are asked for meanwhile are loaded by
//     each process.
//   - A result that cannot be delivered, since the engine went away while fn
//     ran, is for its own callers alone. The process then tries to release
//     the key; at the latest at the end of the lease the others load again.
//
// # What to watch for
//
// What a singleflight.Group asks of fn holds here: everything that fn depends
// on belongs in the key, its value is shared and must not be modified, it may
// run on after its callers have left, and a panic that nobody is left to
// receive ends the program. Beyond that:
//
//   - A value has to survive the journey: by default what encoding/json makes
//     of it, no larger than the server's max_payload (1 MiB by default). One
//     that cannot be sent is given to the callers where it was loaded; the
//     other processes then load for themselves, and a warning is logged, once.
//   - While it runs, a load costs the engine a claim, a watch and a result,
//     and each process that waits a claim, a read and a watch. That is
//     milliseconds, and too much for loads that take less.
//   - A load must not wait for its own key, directly or through the load of
//     another key, here or in another process: as in a Group, it waits until a
//     time limit inside fn ends that.
//   - The text of an error, or of a panic's value, is sent to the other
//     processes.
//
// # Origin
//
// One load in a whole set of processes is what groupcache promises, by giving
// each key an owner. Leases with fencing, here the revision, are from the
// literature on distributed locks.
package fleet
