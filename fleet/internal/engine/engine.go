// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package engine defines what package fleet needs of a store: to write, read
// and watch records, and to know when the connection is down. NATS JetStream,
// Redis and the fake engine of the tests implement it.
//
// An engine holds records. A record has a name, a revision, some bytes, and a
// time to live, and is replaced only by a write that names its revision. The
// processes of a fleet agree by such writes alone. The protocol in package fleet
// gives the bytes their meaning; an engine never looks at them.
//
// The package is internal, because the interface is young: the second engine
// still changed it. A third one, by somebody else, is the time to export it,
// together with the tests of package enginetest.
//
// # Revisions
//
// Each write gives its record a new revision: a number above 0, higher than
// every revision that the name had before, also across expiries. An engine
// that has lost writes (a failover, a restored backup) may give a lower one,
// but should not give the same one again.
//
// # Absent records, markers and expiries
//
// A record is absent if nothing was ever written under its name, or if it has
// expired. The next write then expects revision 0.
//
// A write without data releases the name. It leaves a marker until its time to
// live ends: an [Entry] with a revision and without data. The next write expects
// the marker's revision. When a record that is not [Put.Quiet] expires, an
// engine may also leave a marker for a while.
//
// Watches receive the expiry of a record that is not Quiet: as its marker, or as
// an Entry that is Gone and has the revision that expired.
//
// # Time
//
// Only the engine's clock decides when a record expires. A record lives for at
// least its time to live after it was written, and at most a second longer.
//
// # Contexts
//
// Every method that has a context returns when that is done, whatever the
// client library does. The protocol cancels each request after the
// fleet.EngineTimeout, or when Down is closed. So an engine needs no time limit
// of its own.
package engine

import (
	"context"
	"errors"
	"time"
)

// An Engine is a connection to a store. Its methods are safe for concurrent
// use.
type Engine interface {
	// Write stores a record under name if the revision there is put.Expect,
	// and returns the new revision.
	//
	// The error tells what is known of the record. [ErrTaken]: another
	// revision is there, and nothing was stored. [ErrTooLarge], [ErrUnsent],
	// [ErrClosed]: nothing was stored, and nothing will be. After any other
	// error the outcome is unknown: the record may be stored, or be stored
	// later, while the request is still on its way.
	//
	// A write is applied once. An engine that sends it again, or whose client
	// library does, has to recognize the repetition by an ID that it gave to
	// the write. Comparing the data is not enough: a late repetition could then
	// be stored over a revision that it does not name.
	Write(ctx context.Context, name Name, put Put) (rev uint64, err error)

	// Latest returns what is stored under name now. The answer reflects every
	// write that had returned when Latest was called; it never comes from a
	// replica that may lag.
	Latest(ctx context.Context, name Name) (Entry, error)

	// Watch returns a channel that receives, for each part of the key, what is
	// stored when the watch begins, then an Entry without a Part, and from then
	// on each change and expiry in the order of their revisions. What was not
	// sent before the Entry without a Part is absent. Where changes come faster
	// than they are received, the engine may leave out all but the last of a
	// part.
	//
	// The channel is closed when the watch is lost, cannot be started, or ctx
	// is done. A receiver has to cancel ctx when it stops receiving; nothing of
	// the watch remains after that, here or in the store.
	Watch(ctx context.Context, key string) <-chan Entry

	// Down returns a channel that is closed when the connection is known to
	// be down. If it is down now, the channel is closed already; when it is up
	// again, a new call returns a new channel. After Close it is down forever.
	// An engine that cannot tell returns a channel that is never closed, or nil.
	Down() <-chan struct{}

	// Limits returns what the engine can do. It does not change.
	Limits() Limits

	// String returns how errors and logs call the engine, such as
	// `bucket "reports"`.
	String() string
}

// A Name is where a record is stored. Key may be any string, of any length
// and content. Part is letters and digits.
type Name struct{ Key, Part string }

// A Put is what to write, and which revision it replaces.
type Put struct {
	Expect uint64        // the revision that is replaced; 0 if there is nothing
	Data   []byte        // if empty, the name is released
	TTL    time.Duration // a multiple of the engine's granularity, above 0
	Quiet  bool          // the expiry is not announced, and leaves no marker
}

// An Entry is what an engine knows of one record.
type Entry struct {
	Part string    // empty when a watch has sent all that is stored
	Rev  uint64    // of the record or marker; if Gone, the revision that expired, or 0 if that is unknown
	Data []byte    // none if the record is a marker, or Gone
	Time time.Time // when it was written, by the engine's clock; zero if Gone
	Gone bool      // nothing is stored, not even a marker: the next write expects 0
}

// Limits is what an engine can do.
type Limits struct {
	Granularity time.Duration // of a time to live, above 0
	MaxTTL      time.Duration // the longest time to live; 0 if there is no limit
}

// Errors of Write. It documents what each means.
var (
	ErrTaken    = errors.New("another revision is there")
	ErrTooLarge = errors.New("more than the engine stores")
	ErrUnsent   = errors.New("the request was not sent")
	ErrClosed   = errors.New("the engine is closed")
)
