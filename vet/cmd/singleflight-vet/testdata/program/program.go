// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package program is fixed by a test, and then run.
package program

import (
	"context"

	"golang.org/x/sync/singleflight"
)

// Users loads each user once for all callers that ask at the same time.
type Users struct {
	group singleflight.Group
	load  func(ctx context.Context, id string) (string, error)
}

// User returns the name of a user.
func (u *Users) User(ctx context.Context, id string) (string, error) {
	v, err, _ := u.group.Do(id, func() (interface{}, error) {
		return u.load(ctx, id)
	})
	if err != nil {
		return "", err
	}
	return v.(string), nil
}
