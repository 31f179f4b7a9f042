// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package joinedkey_test

import (
	"testing"

	"example.com/singleflight/vet/internal/vettest"
	"example.com/singleflight/vet/joinedkey"
)

func TestJoinedKey(t *testing.T) {
	vettest.Set(t, joinedkey.Analyzer, "on", "true")
	vettest.Run(t, joinedkey.Analyzer, "joinedkey/a")
}
