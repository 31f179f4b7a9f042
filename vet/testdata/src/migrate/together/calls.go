package together

import "golang.org/x/sync/singleflight"

// The import of this file stays with a group that does.
var Stays singleflight.Group // want `Stays is left as it is: it is exported`

func stays(id string) {
	Stays.Do(id, func() (any, error) { return id, nil })
	byTime.Do(id, func() (any, error) { return pages(id) })
	byTime.Do(id, func() (any, error) { return pages(id) })
	urls.Do(id, func() (any, error) { return page(id) })
}
