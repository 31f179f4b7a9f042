package left

import "golang.org/x/sync/singleflight"

var notWritten singleflight.Group // want `notWritten is left as it is: fn is not a function literal in line 7`

func function() { notWritten.Do("", load) }
