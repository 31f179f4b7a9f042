package left

import "golang.org/x/sync/singleflight"

var usedInGenerated singleflight.Group // want `usedInGenerated is left as it is: generated.go, where it is used, is generated`
