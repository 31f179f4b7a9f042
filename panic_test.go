package singleflight_test

const crashEnv = "SINGLEFLIGHT_CRASH"

var crashes = map[string]func(){}
