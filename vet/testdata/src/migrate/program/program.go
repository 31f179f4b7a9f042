// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package main exports nothing, even where its names begin with a capital.
package main

import "golang.org/x/sync/singleflight"

var Group singleflight.Group // want `Group can be a Group\[string, int\]`

func main() {
	Group.Do("", func() (any, error) { return 1, nil })
}
