// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet

import (
	"context"
	"errors"

	"example.com/singleflight/fleet/internal/engine"
)

// forget frees the key of a view. A load that is pending, or has just ended,
// is set aside first. A claim that is still on its way will not get through,
// since it names another revision than forget leaves.
func (g *Group[V]) forget(ctx context.Context, v *view) error {
	aside := ""
	for {
		if err := v.fetch(ctx, ""); err != nil {
			return err
		}
		old := v.seen[now]
		var err error
		switch {
		case old.State == pending || old.State.finished():
			err = g.setAside(ctx, v, old)
			aside = old.Token
		case old.State == free && aside != "":
			// Its holder released it meanwhile. An error means that the copy
			// has changed, or that it stays until its lease ends.
			_ = v.write(ctx, aside, record{}, g.linger)
			aside = ""
		}
		if err == nil {
			err = v.write(ctx, now, record{State: moved, Token: old.Token}, g.lease)
		}
		if !errors.Is(err, engine.ErrTaken) {
			return err
		}
		// Somebody has written in between: a holder, a claim, another Forget.
	}
}

// setAside copies the record of a load to a part of its own.
func (g *Group[V]) setAside(ctx context.Context, v *view, old record) error {
	part, ttl := old.Token, g.linger
	if part == "" {
		return nil // of a later version
	}
	if old.State == pending {
		ttl = old.lease()
	}
	err := v.write(ctx, part, old, ttl)
	if errors.Is(err, engine.ErrTaken) {
		return errors.Join(err, v.fetchPart(ctx, part))
	}
	if err != nil || old.State != pending {
		return err
	}
	// The copy has a whole lease, where the record had the rest of one. If the
	// holder is dead, it must not be waited for any longer than that.
	if err := v.fetchPart(ctx, part); err != nil {
		return err
	}
	unit := v.engine.Limits().Granularity
	rest := ttl - v.seen[part].time.Sub(old.time)
	rest = max((rest + unit - 1).Truncate(unit), unit)
	if rest >= ttl {
		return nil
	}
	err = v.write(ctx, part, old, rest)
	if errors.Is(err, engine.ErrTaken) {
		return errors.Join(err, v.fetchPart(ctx, part))
	}
	return err
}
