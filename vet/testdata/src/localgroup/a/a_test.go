package a

import (
	"testing"

	"golang.org/x/sync/singleflight"
)

func TestGroup(t *testing.T) {
	var g singleflight.Group
	g.Do("", load)
}
