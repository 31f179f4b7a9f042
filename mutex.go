// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

//go:build !schedules

package singleflight

import "sync"

// With the build tag schedules, mutex is one that a test can watch. See
// schedule_test.go.
type mutex = sync.Mutex
