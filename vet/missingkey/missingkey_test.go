// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package missingkey_test

import (
	"testing"

	"example.com/singleflight/vet/internal/vettest"
	"example.com/singleflight/vet/missingkey"
)

func TestMissingKey(t *testing.T) {
	vettest.Set(t, missingkey.Analyzer, "on", "true")
	vettest.Run(t, missingkey.Analyzer, "missingkey/a")
}
