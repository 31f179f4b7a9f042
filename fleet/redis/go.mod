module example.com/singleflight/fleet/redis

go 1.26.0

replace example.com/singleflight => ../..

replace example.com/singleflight/fleet => ..

require (
	example.com/singleflight/fleet v0.0.0
	github.com/redis/go-redis/v9 v9.23.0
)

require (
	example.com/singleflight v0.0.0 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
