package left

import (
	"golang.org/x/sync/singleflight"
	shared "sharedctx/exported"
)

func newService() *shared.Service {
	return &shared.Service{Group: singleflight.Group{}} // want `Group is left as it is: it is declared in another package`
}
