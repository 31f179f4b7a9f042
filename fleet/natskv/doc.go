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
// The bucket has to exist; [CreateBucket] makes it. It is for Groups only, and
// Groups in which equal keys mean different things need a bucket each. Groups of
// one process may share an Engine, and Engines may share a connection.
//
// # The connection
//
// The connection belongs to the caller, and [Engine.Close] leaves it open. With
// nats.MaxReconnects(-1) the client never gives up when it is without a server.
// With the two other options it knows after six seconds, rather than six
// minutes, that a server is silent. Until then one call in each half lease waits
// for the fleet.EngineTimeout.
//
// # The server
//
// It has to be version 2.11 or later, and the bucket needs three replicas in a
// cluster. Times to live are whole seconds. The README says which permissions
// are needed, and what happens when servers fail.
package natskv
