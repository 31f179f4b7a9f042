// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package inturn measures implementations in turn, so that if something slows the
// machine down, it slows all of them down.
package inturn

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Run makes a round of each impl in turn, again and again. A round makes some
// calls, and returns how long they took and how many they were. Run reports the
// median of each impl, in nanoseconds a call, and its ratio to the first impl's.
func Run[I fmt.Stringer](b *testing.B, impls []I, round func(impl I) (took time.Duration, calls int)) {
	took := make([][]float64, len(impls))
	for b.Loop() {
		for n, impl := range impls {
			d, calls := round(impl)
			took[n] = append(took[n], float64(d)/float64(calls))
		}
	}
	first := median(took[0])
	for n, impl := range impls {
		b.ReportMetric(median(took[n]), impl.String()+"-ns/call")
		if n > 0 && first > 0 {
			b.ReportMetric(median(took[n])/first, impl.String()+"/"+impls[0].String())
		}
	}
	b.ReportMetric(0, "ns/op") // the time of all implementations together means nothing
}

func median(d []float64) float64 {
	slices.Sort(d)
	return d[len(d)/2]
}
