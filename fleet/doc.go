// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package fleet suppresses duplicate calls across processes: one process does
// the work, and the callers in all processes get its result.
//
// In one process a singleflight.Group makes one load of ten thousand; a
// service that runs on fifty machines still makes fifty. Where that is too
// many, this package has the processes agree on one, through an engine that
// they share: NATS JetStream with package natskv, Redis with package redis.
//
//	e, err := natskv.Open(ctx, js, "users")
//	…
//	users, err := fleet.New[User](e)
//	…
//	u, err, _ := users.DoContext(ctx, id, func(ctx context.Context) (User, error) {
//		return db.LoadUser(ctx, id)
//	})
//
// In front of the engine is a singleflight.Group, so that a process asks the
// engine once for all its callers of a key.
//
// # What is promised
//
// There is one load of a key in all processes while the process that loads
// keeps its lease. That is not “exactly once”: no lease can promise that to a
// process that is stopped, or cut off from the engine, and does not know it.
// So fn must tolerate two concurrent runs.
//
// All else is as in a singleflight.Group, but for one limit. The end of a load,
// and a Forget, are news to the other processes, and calls made there before
// the news arrives still join. As a rule that is as long as a message takes. At
// worst, where messages are held up, a call joins a load that ended, or was
// forgotten, two leases before; and if its process was stopped meanwhile, as
// much longer as it was stopped.
//
// Each wait ends when the caller's context is done.
//
// # The lease
//
// The process that loads holds the key's record in the engine, and renews it at
// half the lease while fn runs. Nobody polls: the processes that wait watch the
// record, and the engine announces when it expires.
//
//   - The process dies: another that waits takes over, within the lease and a
//     second.
//   - It is stopped for longer than the lease: the same. When it goes on, its
//     writes to the engine are rejected, fn's context is canceled, and its
//     callers get the result of the newer load. What fn itself writes elsewhere
//     is not rejected.
//   - Its last caller leaves: fn's context is canceled, and another process that
//     waits takes over at once.
//   - fn fails or panics: the other processes are told, and do not take over.
//
// Only the engine's clock counts, and the clocks of the processes may differ.
// If the engine's clock is set forward, leases end early.
//
// # Without the engine
//
// A process that gets no answer from the engine loads for itself, once for all
// its callers, and counts that in [Stats]; with [RequireEngine] its callers get
// [ErrUnavailable] instead. It finds out at once if the connection is known to
// be down, and otherwise after the [EngineTimeout].
//
//   - A process is cut off: it loads for itself. If it held a key, it goes on
//     and gives its callers what it found, while another process takes over
//     when the lease has ended. So there are two loads.
//   - When the engine answers again, later calls in that process no longer join
//     a load that began without it, since a Forget could not have reached that.
//   - A result that cannot be delivered goes to the callers in its own process
//     only. The others load again, at the latest at the end of the lease.
//
// # What to watch for
//
// The rules for fn in package singleflight hold here too. Beyond them:
//
//   - A value has to survive the journey: by default what encoding/json makes of
//     it, and no larger than the engine stores. One that cannot be sent goes to
//     the callers in the process that loaded it, and the other processes then
//     load for themselves. A warning is logged, once.
//   - A load costs the engine some requests, and the callers milliseconds. That
//     is too much for loads that take less.
//   - A load must not wait for its own key, also not in another process, unless
//     a time limit inside fn ends that.
//   - The text of an error, or of a panic's value, is sent to the other
//     processes.
//
// # Origin
//
// One load in a set of processes is what groupcache promises, by giving each key
// an owner. Leases with fencing, here by revisions, are from the literature on
// distributed locks.
package fleet
