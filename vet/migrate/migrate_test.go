// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package migrate_test

import (
	"testing"

	"example.com/singleflight/vet/internal/vettest"
	"example.com/singleflight/vet/migrate"
)

func TestMoved(t *testing.T) {
	vettest.Set(t, migrate.Analyzer, "on", "true")
	vettest.RunFixes(t, migrate.Analyzer, "migrate/moved", "migrate/together", "migrate/program", "web/pages")
}

// If a group is left as it is, the report says why.
func TestLeft(t *testing.T) {
	vettest.Set(t, migrate.Analyzer, "on", "true")
	vettest.Run(t, migrate.Analyzer, "migrate/left")
}
