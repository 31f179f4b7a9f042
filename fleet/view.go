// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"context"
	"maps"
	"time"

	"example.com/singleflight/fleet/internal/engine"
)

// A view is what one flight, or one Forget, knows of the records of a key. It
// learns from the answers to its requests and, while it watches the key, from
// updates. It belongs to one goroutine at a time.
type view struct {
	*client
	key string

	seen map[string]record // the latest known record of each part; none at first

	updates <-chan engine.Entry // nil if the key is not watched
	unwatch context.CancelFunc
	untold  map[string]uint64 // revisions known when the watch began, of parts that it has not sent yet
}

func newView(c *client, key string) *view {
	return &view{client: c, key: key, seen: make(map[string]record), unwatch: func() {}}
}

// clone returns a view that knows the same, for another goroutine.
func (v *view) clone() *view {
	c := newView(v.client, v.key)
	c.seen = maps.Clone(v.seen)
	return c
}

// find returns the record of the load with a token, and the part it is under.
// The record is free where the load is not known to be anywhere.
func (v *view) find(token string) (part string, r record) {
	if r := v.seen[current]; r.Token == token {
		return current, r
	}
	return token, v.seen[token]
}

// write replaces the record that was seen under part by r, which is kept for
// ttl. See [engine.Engine] for the errors.
func (v *view) write(ctx context.Context, part string, r record, ttl time.Duration) error {
	put := engine.Put{
		Expect: v.seen[part].expect(),
		Data:   r.encode(),
		TTL:    ttl,
		Quiet:  r.State != pending,
	}
	err := v.request(ctx, func(ctx context.Context) (err error) {
		r.rev, err = v.engine.Write(ctx, engine.Name{Key: v.key, Part: part}, put)
		return err
	})
	if err == nil {
		v.seen[part] = r
	}
	return err
}

// fetch asks the engine for the current record and, if that is not of the load
// with token, for the part that a Forget has moved that load to. Token may be
// empty.
//
// The order matters: a Forget writes the new part first, so a load that is no
// longer current is found there.
func (v *view) fetch(ctx context.Context, token string) error {
	err := v.fetchPart(ctx, current)
	if err == nil && token != "" && v.seen[current].Token != token {
		err = v.fetchPart(ctx, token)
	}
	return err
}

// fetchPart asks the engine for one record. The answer replaces what was seen
// before, even if its revision is lower: the engine may have lost records.
func (v *view) fetchPart(ctx context.Context, part string) error {
	var e engine.Entry
	err := v.request(ctx, func(ctx context.Context) (err error) {
		e, err = v.engine.Latest(ctx, engine.Name{Key: v.key, Part: part})
		return err
	})
	if err != nil {
		return err
	}
	r := recordOf(e)
	if e.Gone {
		r.rev = v.seen[part].rev
	}
	v.seen[part] = r
	return nil
}

// observe notes an update, unless a later revision is known: an update may
// arrive after an answer that is newer.
func (v *view) observe(e engine.Entry) {
	if e.Part == "" { // the watch has sent all that was stored when it began
		for part, rev := range v.untold {
			v.observe(engine.Entry{Part: part, Rev: rev, Gone: true})
		}
		return
	}
	delete(v.untold, e.Part)
	last := v.seen[e.Part]
	if e.Rev > last.rev || e.Gone && e.Rev == last.rev {
		v.seen[e.Part] = recordOf(e)
	}
}

func recordOf(e engine.Entry) record {
	r := decode(e.Data)
	r.rev, r.gone, r.time = e.Rev, e.Gone, e.Time
	return r
}

// watch starts a watch of the key, unless there is one. Without a watch, changes
// between two requests are missed.
func (v *view) watch() {
	if v.updates != nil {
		return
	}
	v.untold = make(map[string]uint64)
	for part, r := range v.seen {
		if r.State != free {
			v.untold[part] = r.rev
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.updates, v.unwatch = v.engine.Watch(ctx, v.key), cancel
}

func (v *view) stopWatching() {
	v.unwatch()
	v.updates = nil
}

// handleUpdate handles what was received from updates.
func (v *view) handleUpdate(e engine.Entry, open bool) {
	if !open {
		v.stopWatching()
		return
	}
	v.observe(e)
}
