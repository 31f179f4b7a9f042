module example.com/singleflight/fleet

go 1.26.0

replace example.com/singleflight => ..

require example.com/singleflight v0.0.0
