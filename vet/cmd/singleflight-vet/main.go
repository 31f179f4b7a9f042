// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Singleflight-vet finds the mistakes that people make with singleflight, and
// fixes those that need no judgment.
//
// It understands golang.org/x/sync/singleflight, example.com/singleflight and
// example.com/singleflight/dropin:
//
//	singleflight-vet ./...                               # report
//	singleflight-vet -fix -diff ./...                    # show what -fix would change
//	singleflight-vet -fix ./...                          # fix
//	go vet -vettool=$(which singleflight-vet) ./...      # in CI
//
// "singleflight-vet help" lists the analyzers, and "singleflight-vet help
// name" describes one. All of them are registered; joinedkey, missingkey and
// migrate report only with their flags -joinedkey.on, -missingkey.on and
// -migrate.on.
package main

import (
	"flag"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/multichecker"

	"example.com/singleflight/vet/internal/edit"
	"example.com/singleflight/vet/joinedkey"
	"example.com/singleflight/vet/localgroup"
	"example.com/singleflight/vet/lookagain"
	"example.com/singleflight/vet/migrate"
	"example.com/singleflight/vet/missingkey"
	"example.com/singleflight/vet/sharedctx"
	"example.com/singleflight/vet/unreachedassert"
)

var analyzers = []*analysis.Analyzer{
	joinedkey.Analyzer,
	localgroup.Analyzer,
	lookagain.Analyzer,
	migrate.Analyzer,
	missingkey.Analyzer,
	sharedctx.Analyzer,
	unreachedassert.Analyzer,
}

func main() {
	edit.Tests = func() bool {
		f := flag.Lookup("test") // multichecker's
		return f != nil && f.Value.String() == "true"
	}
	multichecker.Main(analyzers...)
}
