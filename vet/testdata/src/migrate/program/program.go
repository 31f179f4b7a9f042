// Package main exports nothing, whatever its names.
package main

import "golang.org/x/sync/singleflight"

var Group singleflight.Group // want `Group can be a Group\[string, int\]`

func main() {
	Group.Do("", func() (any, error) { return 1, nil })
}
