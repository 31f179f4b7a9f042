// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

type doer interface {
	Do(key string, fn func() (any, error)) (any, error, bool)
}

var inInterface doer = new(singleflight.Group)

var besideInterface singleflight.Group // want `besideInterface is left as it is: its file has a group that is neither a variable nor a field`

func doInterface() { inInterface.Do("", func() (any, error) { return 1, nil }) }
