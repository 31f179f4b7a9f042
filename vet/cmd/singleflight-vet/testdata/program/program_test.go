// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package program

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// A caller that waits gets the value, although the caller that came first is
// canceled.
func TestFirstCallerCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := &Users{load: func(ctx context.Context, id string) (string, error) {
			select {
			case <-time.After(time.Second):
				return "name of " + id, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}}
		ctx, cancel := context.WithCancel(t.Context())
		go users.User(ctx, "1")
		synctest.Wait() // until the first caller has started the load
		time.AfterFunc(time.Millisecond, cancel)
		name, err := users.User(t.Context(), "1")
		if name != "name of 1" || err != nil {
			t.Errorf("User returned %q, %v, want %q, nil", name, err, "name of 1")
		}
	})
}
