// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package enginetest_test

import (
	"testing"
	"time"

	"example.com/singleflight/fleet/internal/engine"
	"example.com/singleflight/fleet/internal/enginetest"
)

// store is what the suite needs of a Fake.
func store(f *enginetest.Fake) enginetest.Store {
	return enginetest.Store{
		Connect: func(testing.TB) (engine.Engine, func()) {
			c := f.Connect()
			return c, c.Close
		},
		Oversize: 1 << 20,
		Watches:  f.Watches,
		Stop: func(testing.TB) (start func()) {
			f.Stop()
			return f.Start
		},
		Freeze: func(testing.TB) (thaw func()) {
			f.Freeze()
			return f.Thaw
		},
	}
}

func TestFake(t *testing.T) {
	for name, opts := range map[string]enginetest.FakeOptions{
		"LikeNATS":  {MaxTTL: 365 * 24 * time.Hour},
		"LikeRedis": {Gone: true, Granularity: time.Millisecond},
		"Late":      {Late: 900 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			opts.MaxData = 1<<20 - 1
			enginetest.RunInBubbles(t, func(testing.TB) enginetest.Store { return store(enginetest.NewFake(opts)) })
		})
	}
}
