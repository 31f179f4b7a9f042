package left

import (
	"fmt"

	"golang.org/x/sync/singleflight"
)

var asksInterface singleflight.Group // want `asksInterface is left as it is: line 15 asks whether the value is nil`

func stringer() (fmt.Stringer, error) { return nil, nil }

func askInterface() bool {
	v, _, _ := asksInterface.Do("", func() (any, error) { return stringer() })
	_, ok := v.(fmt.Stringer)
	return ok
}
