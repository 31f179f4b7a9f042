package left

import . "golang.org/x/sync/singleflight"

var dot Group // want `dot is left as it is: its package is imported with a dot`

func dots() { dot.Do("", func() (any, error) { return 1, nil }) }
