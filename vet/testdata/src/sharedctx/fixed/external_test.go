package fixed_test

import "golang.org/x/sync/singleflight"

// An external test keeps groups of its own.
var _ singleflight.Group
