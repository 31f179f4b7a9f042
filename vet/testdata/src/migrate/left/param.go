package left

import "golang.org/x/sync/singleflight"

var besideParam singleflight.Group // want `besideParam is left as it is: its file has a group that is neither a variable nor a field`

func doParam(g *singleflight.Group) {
	g.Do("", func() (any, error) { return 1, nil })
	besideParam.Do("", func() (any, error) { return 1, nil })
}
