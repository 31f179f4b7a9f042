// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package singleflight has the names of dropin.
package singleflight

import "example.com/singleflight"

type Group = singleflight.Group[string, any]

type Result = singleflight.Result[any]
