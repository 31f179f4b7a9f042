// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package draw

import (
	"slices"
	"testing"
	"time"
)

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 999: "999ns", 12345: "12.3µs", 5213456789: "5.21s", 999999: "1ms", 75 * time.Second: "1m15s",
	} {
		if got := Short(d).String(); got != want {
			t.Errorf("Short(%d) = %s, want %s", d, got, want)
		}
	}
}

func TestTicks(t *testing.T) {
	const ms = time.Millisecond
	for span, want := range map[time.Duration][]time.Duration{
		0:       {0},
		7:       {0, 1, 2, 3, 4, 5, 6, 7},
		90 * ms: {0, 20 * ms, 40 * ms, 60 * ms, 80 * ms},
		44 * ms: {0, 5 * ms, 10 * ms, 15 * ms, 20 * ms, 25 * ms, 30 * ms, 35 * ms, 40 * ms},
	} {
		if got := Ticks(span, 8); !slices.Equal(got, want) {
			t.Errorf("Ticks(%v) = %v, want %v", span, got, want)
		}
	}
}
