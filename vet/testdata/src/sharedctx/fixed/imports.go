package fixed

import . "golang.org/x/sync/singleflight"

var third Group

// The fix adds the import of context.
func carried(c carrier, id string) {
	ctx := c.Context()
	third.Do(id, func() (any, error) {
		return load(ctx, id) // want `ctx belongs to the caller`
	})
}
