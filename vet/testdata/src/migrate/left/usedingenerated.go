// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import "golang.org/x/sync/singleflight"

var usedInGenerated singleflight.Group // want `usedInGenerated is left as it is: generated.go, where it is used, is generated`
