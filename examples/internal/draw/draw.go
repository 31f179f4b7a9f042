// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package draw has the code that the pictures and tables of the examples share.
package draw

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Short returns d rounded to three digits.
func Short(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// Num formats x, rounded to a tenth.
func Num(x float64) string {
	return strconv.FormatFloat(math.Round(x*10)/10, 'f', -1, 64)
}

// A File is a file that appears under its name only once it is complete.
type File struct {
	*os.File
	path string
}

// Create creates the file that Commit puts at path.
func Create(path string) (*File, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // replace the file, not the link
		if err := replaceable(path); err != nil {
			return nil, err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			pe.Path = path // the name that the user gave
		}
		return nil, err
	}
	return &File{f, path}, nil
}

// replaceable returns an error if the file at path must not be replaced. A
// rename itself checks neither its type nor whether it may be written to.
func replaceable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

// Commit puts the file under its name.
func (f *File) Commit() error {
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), f.path)
}

// Discard does nothing after Commit.
func (f *File) Discard() {
	f.Close()
	os.Remove(f.Name())
}

// Ticks returns the times from 0 to span at which to mark an axis: at most n+1
// of them, in steps of 1, 2, 5, 10, 20, 50, …
func Ticks(span time.Duration, n int) (ticks []time.Duration) {
	step := time.Duration(1)
	for i := 0; span/step > time.Duration(n); i++ {
		if i%3 == 1 {
			step = step / 2 * 5
		} else {
			step *= 2
		}
	}
	for t := time.Duration(0); t <= span; t += step {
		ticks = append(ticks, t)
	}
	return ticks
}
