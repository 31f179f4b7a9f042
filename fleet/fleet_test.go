// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleet_test

import (
	"fmt"
	"testing"

	"example.com/singleflight/fleet"
)

func TestOneLoadInTheFleet(t *testing.T) {
	w := newWorld(t, 8)
	l := newLoader()
	var calls []*call
	for _, g := range w.g {
		calls = append(calls, start(t, g, "k", l.fn))
	}
	l.running(t)
	w.watched(8)
	l.give("v")
	for i, c := range calls {
		c.want(t, fmt.Sprint("caller ", i), "v")
	}
	l.idle(t)
	var sum fleet.Stats
	for _, g := range w.g {
		s := g.Stats()
		sum.Loads += s.Loads
		sum.Received += s.Received
	}
	if sum.Loads != 1 || sum.Received != 7 {
		t.Errorf("%+v", sum)
	}
	w.empty()
}
