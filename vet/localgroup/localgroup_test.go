// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package localgroup_test

import (
	"testing"

	"example.com/singleflight/vet/internal/vettest"
	"example.com/singleflight/vet/localgroup"
)

func TestLocalGroup(t *testing.T) {
	vettest.Run(t, localgroup.Analyzer, "localgroup/a")
}
