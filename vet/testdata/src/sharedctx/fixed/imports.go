// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fixed

import . "golang.org/x/sync/singleflight"

var third Group

// The fix adds the import of context.
func carried(c carrier, id string) {
	ctx := c.Context()
	third.Do(id, func() (any, error) {
		return load(ctx, id) // want `ctx belongs to the caller`
	})
}
