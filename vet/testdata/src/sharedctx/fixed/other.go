package fixed

import "golang.org/x/sync/singleflight"

// The fix of the other file reaches this one, which has nothing to report
// and no import of context.

var other singleflight.Group

func (s *store) once(id string) (<-chan singleflight.Result, error) {
	_, err, _ := other.Do(id, func() (interface{}, error) { return id, nil })
	return other.DoChan(id, func() (interface{}, error) { return id, nil }), err
}
