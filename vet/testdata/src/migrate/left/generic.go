package left

import "golang.org/x/sync/singleflight"

type generic[T any] struct {
	values singleflight.Group // want `values is left as it is: its values have the type parameter T`
}

func (g *generic[T]) get(v T) { g.values.Do("", func() (any, error) { return v, nil }) }
