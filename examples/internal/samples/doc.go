// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package samples

import (
	"context"
	"fmt"
)

// What the package documentation shows and README.md does not.

type noValues struct{ context.Context }

func (noValues) Value(any) any { return nil }

func fillWithRecover(ctx context.Context, id int64) (User, error) {
	u, err, _ := users.Fill(ctx, cache, id,
		func(ctx context.Context) (u User, err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("loading user %d: %v", id, p)
				}
			}()
			return db.LoadUser(ctx, id)
		})
	return u, err
}
