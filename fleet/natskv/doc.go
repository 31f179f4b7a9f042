// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package natskv is an engine for package fleet on NATS JetStream: the
// processes of a fleet agree through a key-value bucket.
//
//	nc, err := nats.Connect(url, nats.MaxReconnects(-1),
//		nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2))
//	js, err := jetstream.New(nc)
//	…
//	e, err := natskv.Open(ctx, js, "users")
//	…
//	defer e.Close()
//	users, err := fleet.New[User](e)
//
// The bucket has to be there; [CreateBucket] makes it. A bucket is for Groups
// alone, and for one kind of them: two Groups that keep different things under
// equal keys need two buckets. Groups of one process may share an Engine, and
// Engines may share a connection.
//
// # The connection
//
// The connection belongs to the caller, and [Engine.Close] leaves it open. Its
// options matter. By default the client gives up for good after some minutes
// without a server; with nats.MaxReconnects(-1) it tries on.
//
// While the client knows that the connection is down, a process falls back at
// once. But if a network drops what is sent, the client knows that only when
// answers to pings are missing: with its defaults after up to six minutes. Until
// then one call each half lease waits for the fleet.EngineTimeout. With the
// options above it knows after six seconds, which is the PingInterval times one
// more than MaxPingsOutstanding.
//
// # The server
//
// It has to be 2.11 or later, since the bucket needs a time to live for each
// message and markers where messages have expired. Times to live are whole
// seconds. Only the server's wall clock decides when a lease is over: if that
// is set forward, leases end early.
//
// In a cluster, give the bucket three replicas. A write is answered when the
// majority has it, and a read is answered by the leader of the bucket. While
// no leader is elected nothing can be written or read, and each process is on
// its own. A leader that was cut off from the other servers answers reads for
// some seconds more, until it notices; it cannot write meanwhile.
package natskv
