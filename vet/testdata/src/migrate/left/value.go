package left

import (
	"fmt"

	"golang.org/x/sync/singleflight"
)

var value singleflight.Group // want `value is left as it is: r.Val in line 13 is used as an any`

func printValue() {
	r := <-value.DoChan("", func() (any, error) { return 1, nil })
	fmt.Println(r.Val)
}
