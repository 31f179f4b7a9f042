package left

import (
	"fmt"

	"golang.org/x/sync/singleflight"
)

var result singleflight.Group // want `result is left as it is: r in line 13 is passed on`

func printResult() {
	r := <-result.DoChan("", func() (any, error) { return 1, nil })
	fmt.Println(r)
}
