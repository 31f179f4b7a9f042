// Package pages may import the internal packages of web.
package pages

import (
	"golang.org/x/sync/singleflight"
	"web"
)

var pages singleflight.Group // want `pages can be a Group\[string, \*page.Page\]`

func load(id string) {
	pages.Do(id, func() (any, error) { return web.NewPage() })
}
