// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package lookagain_test

import (
	"testing"

	"example.com/singleflight/vet/internal/vettest"
	"example.com/singleflight/vet/lookagain"
)

func TestLookAgain(t *testing.T) {
	vettest.Run(t, lookagain.Analyzer, "lookagain/a")
}
