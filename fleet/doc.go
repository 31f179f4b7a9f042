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
// keeps its lease. This is not “exactly once”: a process that is stopped, or cut
// off from the engine, can lose its lease without knowing it. So fn must
// tolerate two concurrent runs.
//
// All else is as in a singleflight.Group, with one limit. Other processes learn
// from a message that a load has ended or was forgotten, and their calls join
// it until that message arrives. If messages are held up, a call may join a load
// that ended, or was forgotten, up to two leases before, plus the time for which
// its process was stopped meanwhile.
//
// # The lease
//
// The process that loads renews its lease every half [Lease] while fn runs. If
// it dies, another process that waits takes over within the lease plus one
// second. If it was only stopped or cut off, then fn's context is canceled when
// it learns that another process has taken over, and its callers get the result
// of that newer load. What fn itself writes, to a database for example, is not
// rejected.
//
// Only the engine's clock counts. If that is set forward, or the engine loses
// records in a failover, leases are lost, and a Forget may be undone.
//
// # Without the engine
//
// A process that gets no answer from the engine loads for itself, once for all
// its callers; with [RequireEngine] it returns [ErrUnavailable]. It does so at
// once if the connection is known to be down, and otherwise after the
// [EngineTimeout]. A Forget in another process cannot reach such a load, so
// later calls join the load only until a request is answered again, which takes
// up to half a lease once the engine is back.
//
// # Rules for fn
//
// The rules for fn in package singleflight hold here too, and these:
//
//   - A value must be one that encoding/json, or the [Encoding], can encode and
//     decode, and no larger than the engine stores. If it cannot be sent, the
//     callers in the process that loaded it get it, and the other processes load
//     for themselves.
//   - The text of an error, or of a panic's value, goes to the other processes.
//
// # Origin
//
// One load in a set of processes is what groupcache promises, by giving each key
// an owner. Leases with fencing, here by revisions, are from the literature on
// distributed locks.
package fleet
