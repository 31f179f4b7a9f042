// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package redis is an engine for package fleet on Redis:
//
//	client := goredis.NewClient(&goredis.Options{Addr: "redis.internal:6379"})
//	engine, err := redis.Open(ctx, client, "reports")
//	reports, err := fleet.New[Report](engine)
//
// The client is one of github.com/redis/go-redis/v9: of a single server, of
// Sentinel (NewFailoverClient), or of a cluster. The Engine uses it as it is
// configured, with one further connection to receive updates. Nothing has to be
// created in Redis, and nothing is left there when the last lease and the last
// result have ended.
//
// The promises of package fleet hold, except as follows. The README says which
// permissions are needed, and what a load costs.
//
// # Servers
//
// The server must be version 6.0 or later; the tests run on 7.0. It must not
// evict, since an evicted lease is lost: if it has a maxmemory, the
// maxmemory-policy has to be noeviction. [Open] refuses a server that evicts, one
// that is too old, and a replica, if the user may read INFO. If the server is
// full, a claim is refused, and its process loads without the engine; a result
// then counts as too large to be sent.
//
// A record is at most 8 MiB: a server disconnects a subscriber that lags by 32
// MiB (client-output-buffer-limit), and serves no other client while it copies a
// value. The server's proto-max-bulk-len must not be lower.
//
// # Failover
//
// Replication is asynchronous. If a replica is promoted that has not received a
// claim, that claim is lost: another process may claim the key, and two loads
// run. The first process learns of the second load from an update, or at its next
// renewal, at most half a lease after the last one. Then its fn's context is
// canceled, and its callers get the second result. A result that is lost in this
// way is loaded again. A master that is cut off, and does not know yet that it
// has been replaced, still accepts the claims of the processes on its side;
// min-replicas-to-write=1 ends that after some seconds. WAIT would not change
// any of this, and is not used.
//
// A server that is restarted without its data (appendonly no), or whose clock is
// set forward by more than a lease, has lost all claims in the same way. If the
// clock is set back, leases last that much longer. Revisions are times of the
// server, but do not go back with its clock while it has the key. While a master
// is being replaced, requests fail, and each process loads for itself.
//
// # Clusters
//
// A key of a Group is one Redis key, so no two have to be in one slot, and a
// slot may move at any time. Updates are sent with PUBLISH, which reaches every
// subscriber through any node, so one connection is enough. (SPUBLISH would need
// version 7.0, and a connection to each master.) The price is that each node
// receives all updates, over the cluster bus. If the bus is cut but the clients
// are not, updates are lost; a waiting process then asks when a renewal is
// overdue, after three quarters of the lease.
//
// Requests go to masters only, whatever the client's ReadOnly, RouteByLatency
// or RouteRandomly say; a replica that gets one by mistake refuses it.
//
// # The client
//
// A write is sent once, whatever MaxRetries is: go-redis would repeat one whose
// answer is lost, in a cluster even with MaxRetries -1. If something between the
// client and the server repeats a write, that has no effect. Every request
// returns when its context is done, also without ContextTimeoutEnabled; but one
// that waits for a silent server keeps a connection of the pool for up to the
// ReadTimeout. Keep the ReadTimeout below the lease, and the PoolSize at its
// default or above.
package redis
