package left

import "golang.org/x/sync/singleflight"

var handed singleflight.Group // want `handed is left as it is: it is passed on in line 7`

func handOn() *singleflight.Group { return &handed }
