// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package inturn measures things beside each other, so that whatever slows
// the machine down slows all of them down.
package inturn

import (
	"slices"
	"testing"
	"time"
)

// A Thing is something to measure: Round makes some calls, and returns how
// long they took and how many they were.
type Thing struct {
	Name  string
	Round func() (took time.Duration, calls int)
}

// Run makes rounds of all things in turn, and reports the median of each, in
// nanoseconds a call, and its ratio to the first thing's.
func Run(b *testing.B, things []Thing) {
	took := make([][]float64, len(things))
	for b.Loop() {
		for i, t := range things {
			d, calls := t.Round()
			took[i] = append(took[i], float64(d)/float64(calls))
		}
	}
	first := median(took[0])
	for i, t := range things {
		b.ReportMetric(median(took[i]), t.Name+"-ns/call")
		if i > 0 && first > 0 {
			b.ReportMetric(median(took[i])/first, t.Name+"/"+things[0].Name)
		}
	}
	b.ReportMetric(0, "ns/op") // a round of all of them says nothing
}

func median(d []float64) float64 {
	slices.Sort(d)
	return d[len(d)/2]
}
