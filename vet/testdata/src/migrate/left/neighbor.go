package left

import "golang.org/x/sync/singleflight"

var neighbor singleflight.Group // want `neighbor is left as it is: its file uses Result`

func besides() singleflight.Result {
	neighbor.Do("", func() (any, error) { return 1, nil })
	return singleflight.Result{}
}
