//go:build !race

package singleflight_test

const raceEnabled = false
