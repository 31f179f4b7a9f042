// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package singleflight has the names and types of
// golang.org/x/sync/singleflight. To move code that was written for that
// package, change its import path and nothing else.
//
// The code gains three things: if fn calls runtime.Goexit, a channel of DoChan
// receives [singleflight.ErrGoexit], where x/sync sends nothing; panics have the
// type [*singleflight.PanicError]; and [Group] has the other methods of
// [singleflight.Group].
package singleflight

import "example.com/singleflight"

// Group is a [singleflight.Group] with string keys and values of any type.
type Group = singleflight.Group[string, any]

// Result is the type of what a channel returned by DoChan receives.
type Result = singleflight.Result[any]
