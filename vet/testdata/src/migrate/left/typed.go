package left

import "golang.org/x/sync/singleflight"

var local singleflight.Group // want `local is left as it is: the type thing is not visible in line 5`

func localType() {
	type thing struct{}
	local.Do("", func() (any, error) { return thing{}, nil })
}
