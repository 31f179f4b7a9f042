package left

import "golang.org/x/sync/singleflight"

var Exported singleflight.Group // want `Exported is left as it is: it is exported`

func exported() { Exported.Do("", func() (any, error) { return 1, nil }) }
