// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package left

import (
	"golang.org/x/sync/singleflight"
	shared "sharedctx/exported"
)

func newService() *shared.Service {
	return &shared.Service{Group: singleflight.Group{}} // want `Group is left as it is: it is declared in another package`
}
