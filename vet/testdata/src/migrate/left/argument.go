package left

import "web"

func doArguments() {
	arguments.Do("", func() (any, error) { return web.NewSessionList() })
}
