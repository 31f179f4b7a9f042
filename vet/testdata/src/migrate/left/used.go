package left

import "golang.org/x/sync/singleflight"

var used singleflight.Group // want `used is left as it is: v in line 9 is used as an any`

func use() any {
	v, _, _ := used.Do("", func() (any, error) { return 1, nil })
	return v
}
