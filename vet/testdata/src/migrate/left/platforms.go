package left

import "golang.org/x/sync/singleflight"

var onPlatforms singleflight.Group // want `onPlatforms is left as it is: platform_plan9.go, which is not in this build, may use it`

func on() { onPlatforms.Do("", func() (any, error) { return 1, nil }) }
