module example.com/singleflight/bench

go 1.25.0

replace example.com/singleflight => ..

require (
	example.com/singleflight v0.0.0
	golang.org/x/sync v0.20.0
	resenje.org/singleflight v0.4.3
)
