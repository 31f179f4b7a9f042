// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package sharedctx_test

import (
	"testing"

	"example.com/singleflight/vet/internal/vettest"
	"example.com/singleflight/vet/sharedctx"
)

func TestFixed(t *testing.T) {
	vettest.RunFixes(t, sharedctx.Analyzer, "sharedctx/fixed", "sharedctx/ours")
}

func TestNotReported(t *testing.T) {
	vettest.Run(t, sharedctx.Analyzer, "sharedctx/negative")
}

// If there is no fix, the report says why.
func TestNoFix(t *testing.T) {
	vettest.Run(t, sharedctx.Analyzer, "sharedctx/nofix", "sharedctx/copied",
		"sharedctx/exported", "sharedctx/foreign", "sharedctx/generated", "sharedctx/unseen")
}

func TestFields(t *testing.T) {
	vettest.Set(t, sharedctx.Analyzer, "fields", "true")
	vettest.Run(t, sharedctx.Analyzer, "sharedctx/fields")
}
