// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package fixed_test

import "golang.org/x/sync/singleflight"

// An external test keeps groups of its own.
var _ singleflight.Group
