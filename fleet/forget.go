// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"context"
	"errors"
	"time"

	"example.com/singleflight/fleet/internal/engine"
)

// forget sets the pending load aside, which frees the key. If no load is
// pending there is nothing to do: see [flight.settle].
func (g *Group[V]) forget(ctx context.Context, v *view) error {
	for {
		err := v.fetch(ctx, "")
		if err != nil {
			return err
		}
		old := v.seen[current]
		if old.State != pending {
			// It is tempting to remove a copy that this Forget wrote in vain, but
			// another Forget may have been faster, and the load continue in the
			// copy. A copy of a load that has ended stays until its lease ends.
			return nil
		}
		err = g.setAside(ctx, v, old)
		if err == nil {
			err = v.write(ctx, current, record{State: moved}, g.linger)
		}
		if !errors.Is(err, engine.ErrTaken) {
			return err
		}
		// Another process has written in between: the holder, or a Forget.
	}
}

// setAside copies the record of a load to a part of its own.
//
// It is tempting to give the copy a whole lease, but if the holder is dead,
// other processes would wait for it longer than the lease.
func (g *Group[V]) setAside(ctx context.Context, v *view, old record) error {
	part := old.Token
	unit := v.engine.Limits().Granularity
	// Short at first, until the engine's clock shows how much of the lease is
	// left.
	err := v.write(ctx, part, old, max(unit, time.Second))
	if errors.Is(err, engine.ErrTaken) { // by another Forget
		return errors.Join(err, v.fetchPart(ctx, part))
	}
	if err != nil {
		return err
	}
	written := v.seen[part].rev
	err = v.fetchPart(ctx, part)
	if err != nil {
		return err
	}
	there := v.seen[part]
	if there.rev != written {
		return engine.ErrTaken
	}
	left := old.lease() - there.time.Sub(old.time)
	if left <= 0 {
		return v.write(ctx, part, record{}, g.linger) // the engine has not ended it yet
	}
	return v.write(ctx, part, old, (left + unit - 1).Truncate(unit))
}
