package left

import "golang.org/x/sync/singleflight"

var results singleflight.Group // want `results is left as it is: fn in line 8 names its results`

func nameResults() {
	results.Do("", func() (v any, err error) { return 1, nil })
}
