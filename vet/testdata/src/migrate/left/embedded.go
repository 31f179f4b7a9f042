package left

import "golang.org/x/sync/singleflight"

type embedded struct {
	singleflight.Group
}

type kept struct {
	g singleflight.Group // want `g is left as it is: its file has a group that is neither a variable nor a field`
}

func (k *kept) do() { k.g.Do("", func() (any, error) { return 1, nil }) }
