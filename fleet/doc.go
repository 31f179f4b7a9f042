// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package fleet suppresses duplicate calls across processes: one process does
// the work, and the callers in all processes get its result.
//
// The processes agree through an engine that they share: NATS JetStream with
// package natskv, or Redis with package redis.
//
//	e, err := natskv.Open(ctx, js, "users")
//	…
//	users, err := fleet.New[User](e)
//	…
//	u, err, _ := users.DoContext(ctx, id, func(ctx context.Context) (User, error) {
//		return db.LoadUser(ctx, id)
//	})
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
// # The lease
//
// The process that loads renews its lease, at half the [Lease], while fn runs.
// If it dies, another that waits takes over within the lease and a second. If
// it loses the lease but lives, because it was stopped or cut off, then fn's
// context is canceled when it finds that another has taken over, and its
// callers get the result of that newer load. What fn itself writes elsewhere,
// to a database say, is not rejected. Only the engine's clock counts. If that is
// set forward, or the engine loses records in a failover, leases are lost, and a
// Forget may be undone.
//
// # Without the engine
//
// A process that gets no answer from the engine loads for itself, once for all
// its callers, or returns [ErrUnavailable] with [RequireEngine]. It finds out
// at once if the connection is known to be down, and otherwise after the
// [EngineTimeout]. A Forget elsewhere cannot reach such a load, so later calls in
// that process join it only until the engine answers again.
//
// # What to watch for
//
// The rules for fn in package singleflight hold here too. Beyond them:
//
//   - A value has to survive the journey: by default what encoding/json makes of
//     it, and no larger than the engine stores. The callers of one that cannot
//     be sent get it in the process that loaded it; the others load for
//     themselves.
//   - A load costs the engine some requests, and the callers milliseconds.
//   - The text of an error, or of a panic's value, goes to the other processes.
//
// # Origin
//
// One load in a set of processes is what groupcache promises, by giving each key
// an owner. Leases with fencing, here by revisions, are from the literature on
// distributed locks.
package fleet
