package left

import "golang.org/x/sync/singleflight"

var mixed singleflight.Group // want `mixed is left as it is: it holds values of two types, int and string`

func mix() {
	mixed.Do("", func() (any, error) { return 1, nil })
	mixed.Do("", func() (any, error) { return "", nil })
}
