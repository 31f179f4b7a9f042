// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package natskv_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"example.com/singleflight/fleet"
	"example.com/singleflight/fleet/internal/fleettest"
)

func BenchmarkColdKey(b *testing.B) {
	b.Run("nodes=1", func(b *testing.B) { fleettest.ColdKey(b, serveOne) })
	b.Run("nodes=3", func(b *testing.B) { fleettest.ColdKey(b, serveThree) })
}

func BenchmarkAlone(b *testing.B) {
	fleettest.Alone(b, func(b testing.TB) *fleet.Group[string] {
		return newWorldOn(b, jetstream.KeyValueConfig{}, 1).g[0]
	})
}
