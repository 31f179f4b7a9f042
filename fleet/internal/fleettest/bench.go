// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fleettest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/singleflight/fleet"
)

// ColdKey measures what a call for a cold key, made in eight processes at once,
// takes longer than the load: the median over the processes, and the longest,
// averaged over the rounds.
func ColdKey(b *testing.B, serve func(testing.TB) Server) {
	const processes, hold = 8, 50 * time.Millisecond
	p := newProcessTest(b, serve, processes, 10*time.Second)
	var median, longest time.Duration
	var loads uint64
	for round := range b.N {
		for _, w := range p.workers {
			w.do(command{Do: "time", Key: fmt.Sprint("k", round), Hold: hold})
		}
		var added []time.Duration
		loads = 0
		for _, w := range p.workers {
			e := w.next("timed")
			added = append(added, e.Added)
			loads += e.Stats.Loads
		}
		slices.Sort(added)
		median += added[processes/2]
		longest += added[processes-1]
	}
	ms := func(d time.Duration) float64 { return d.Seconds() * 1e3 / float64(b.N) }
	b.ReportMetric(ms(median), "ms-added")
	b.ReportMetric(ms(longest), "ms-added-longest")
	b.ReportMetric(float64(loads)/float64(b.N), "loads/op")
	b.ReportMetric(0, "ns/op")
}

// Alone measures the whole call in a process that is alone with its key, of a
// load that takes no time. A recent key was loaded within Linger, and is looked
// at before it is claimed again.
func Alone(b *testing.B, group func(testing.TB) *fleet.Group[string]) {
	for _, recent := range []bool{false, true} {
		b.Run(fmt.Sprintf("recent=%v", recent), func(b *testing.B) {
			g := group(b)
			load := func(context.Context) (string, error) { return "v", nil }
			key, round := "k", 0
			if recent {
				g.DoContext(b.Context(), key, load)
			}
			for b.Loop() {
				if !recent {
					round++
					key = fmt.Sprint("k", round)
				}
				if _, err, _ := g.DoContext(b.Context(), key, load); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
