package left

import "golang.org/x/sync/singleflight"

var returned singleflight.Group // want `returned is left as it is: what Do returns in line 8 is used as an any`

func doReturn() (any, error, bool) {
	return returned.Do("", func() (any, error) { return 1, nil })
}
