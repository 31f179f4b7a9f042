package left

import "golang.org/x/sync/singleflight"

var unnamed singleflight.Group // want `unnamed is left as it is: the type of its values has no name`

func doUnnamed() {
	unnamed.Do("", func() (any, error) { return func() {}, nil })
}
