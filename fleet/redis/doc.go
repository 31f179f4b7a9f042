// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package redis has the Groups of package fleet agree over Redis:
//
//	client := goredis.NewClient(&goredis.Options{Addr: "redis.internal:6379"})
//	engine, err := redis.Open(ctx, client, "reports")
//	reports, err := fleet.New[Report](engine)
//
// The client is one of github.com/redis/go-redis/v9: of a single server, of
// Sentinel (NewFailoverClient), or of a cluster. The Engine uses it as it is
// set up, and beside it one connection for each Engine, for the news of all
// keys. Nothing has to be created in Redis, and nothing is left in it once the
// last lease and the last result have ended.
//
// All that package fleet promises holds, with what follows.
//
// # Servers
//
// The server must be version 6.0 or later; the tests run on 7.0, a single one,
// with a replica, with Sentinel, and a cluster of three. It must not evict: with
// a maxmemory it needs the maxmemory-policy noeviction, since a lease that is
// evicted is a lease that is lost. [Open] refuses a server that evicts, one
// that is too old, and a replica, as far as the user may read INFO. Where the
// server is full a claim is refused and its process loads without the engine,
// and a result counts as too large to be sent.
//
// A record is at most 8 MiB: a server cuts off a subscriber that lags by 32 MiB
// (client-output-buffer-limit), and serves nobody else while it copies a
// value. The server's proto-max-bulk-len must not be lower.
//
// # Failover
//
// Replication is asynchronous. When a replica is promoted that has not heard of
// a claim, that claim is lost: another process may claim the key, and two
// loads run. The context of the first is canceled when its process hears of
// the second, by the news or at its next renewal, half a lease after the last
// one at the latest, and then its callers get the second one's result. A
// result that is lost in the same way is loaded again. A master that is cut
// off from the others, and does not know yet that it has been replaced, goes
// on to accept the claims of the processes on its side;
// min-replicas-to-write=1 ends that after some seconds. WAIT would not
// change any of this, and is not used.
//
// A server that is started again without its data (appendonly no) has lost all
// claims, which is the same; so has one whose clock is set forward by more than
// a lease. One whose clock is set back keeps the leases for that much longer.
// Revisions are times of the server, and do not go back with its clock as long
// as it knows the key. While a master is being replaced, requests fail, and
// each process loads for itself.
//
// # Clusters
//
// A key of a Group is one Redis key, so no two have to be in one slot, and a
// slot may move at any time. The news are published with PUBLISH, not with
// SPUBLISH: that needs version 7.0 and a connection to each master, and
// follows the slots as they move; PUBLISH reaches every subscriber by any
// node, so that one connection is enough. The price is that each node hears of
// all news, over the cluster bus, which may also lose some: where the bus is
// cut but the clients are not, a waiting process notices by itself when a
// renewal is overdue, after three quarters of the lease.
//
// Requests go to masters only, whatever the client's ReadOnly, RouteByLatency
// or RouteRandomly say; a replica that gets one by mistake refuses it.
//
// # Permissions
//
// An ACL user needs no more than this, where the prefix is reports:
//
//	~reports:* &reports:*
//	+eval +evalsha +time +hget +hset +hdel +hkeys +hgetall +pexpireat
//	+publish +subscribe +unsubscribe +ping
//
// and, if possible, +info; in a cluster also +cluster|slots; and what the
// client itself is set to do. A user that may write there decides what all
// processes get for a key.
//
// # Costs
//
// A load costs the process that runs it three scripts (the claim, the listing
// of the key when its watch begins, and the result), one SUBSCRIBE and one
// UNSUBSCRIBE; a process that waits for it the same (the claim that is
// refused, a question, the listing). A renewal is a script, every half lease.
// When a lease ends without a renewal, each process that waits asks once. Each
// Engine pings its connection twice a second. EVALSHA is used, and EVAL where a
// server does not know the scripts.
//
// # The client
//
// A write is sent once, whatever MaxRetries is: go-redis would send one again
// whose answer is lost, in a cluster even with MaxRetries -1. (If something
// between the client and the server repeats it, it has no effect the second
// time.) Every request returns when its context is done, also without
// ContextTimeoutEnabled; but one that waits for a silent server then keeps its
// connection of the pool for up to the ReadTimeout. Keep the ReadTimeout below
// the lease, and the PoolSize at its default or above.
//
// A server that is silent is noticed within two to three seconds.
package redis
