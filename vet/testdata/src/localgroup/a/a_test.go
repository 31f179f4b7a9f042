// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package a

import (
	"testing"

	"golang.org/x/sync/singleflight"
)

func TestGroup(t *testing.T) {
	var g singleflight.Group
	g.Do("", load)
}
