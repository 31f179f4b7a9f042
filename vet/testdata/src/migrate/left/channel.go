package left

import "golang.org/x/sync/singleflight"

var channel singleflight.Group // want `channel is left as it is: DoChan in line 7 needs another type of channel`

func doChan() { <-channel.DoChan("", func() (any, error) { return 1, nil }) }
