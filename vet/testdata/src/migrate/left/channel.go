package left

import "golang.org/x/sync/singleflight"

var channel singleflight.Group // want `channel is left as it is: the channel in line 8, or what it gives, is passed on`

func doChan() {
	ch := channel.DoChan("", func() (any, error) { return 1, nil })
	println(ch)
}
