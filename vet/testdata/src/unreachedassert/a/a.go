// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package a asserts the types of values.
package a

import (
	"context"
	"errors"

	dropin "example.com/singleflight/dropin"
	"golang.org/x/sync/singleflight"
)

var (
	g   singleflight.Group
	old dropin.Group
)

type user struct{}

func load() (*user, error) { return nil, errors.New("no") }

func mayBeNil() (any, error) {
	u, err := load()
	if err != nil {
		return nil, err
	}
	return u, nil
}

func before(id string) (*user, error) {
	v, err, _ := g.Do(id, func() (any, error) {
		u, err := load()
		if err != nil {
			return nil, err
		}
		return u, nil
	})
	return v.(*user), err // want `this type assertion panics when fn returns nil and an error: look at the error first`
}

func inVar(id string) (*user, error) {
	var v, err, _ = g.Do(id, mayBeNil)
	return v.(*user), err // want `this type assertion panics`
}

func lookedAtInVar(id string) (*user, error) {
	var v, err, _ = g.Do(id, mayBeNil)
	if err != nil {
		return nil, err
	}
	return v.(*user), nil
}

func dropped(id string) *user {
	v, _, _ := g.Do(id, mayBeNil)
	u := v.(*user) // want `this type assertion panics`
	return u
}

func tooLate(ctx context.Context, id string) (*user, error) {
	v, err, _ := old.DoContext(ctx, id, func(context.Context) (any, error) { return mayBeNil() })
	u := v.(*user) // want `this type assertion panics`
	if err != nil {
		return nil, err
	}
	return u, nil
}

func channel(id string) (*user, error) {
	r := <-g.DoChan(id, mayBeNil)
	return r.Val.(*user), r.Err // want `this type assertion panics when fn returns nil and an error: look at r.Err first`
}

func selected(ctx context.Context, id string) (*user, error) {
	ch := g.DoChan(id, mayBeNil)
	select {
	case r := <-ch:
		return r.Val.(*user), r.Err // want `this type assertion panics`
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func lookedAt(id string) (*user, error) {
	v, err, _ := g.Do(id, mayBeNil)
	if err != nil {
		return nil, err
	}
	return v.(*user), nil
}

func resultLookedAt(id string) (*user, error) {
	r := <-g.DoChan(id, mayBeNil)
	if r.Err != nil {
		return nil, r.Err
	}
	return r.Val.(*user), nil
}

func withOK(id string) (*user, error) {
	v, err, _ := g.Do(id, mayBeNil)
	u, _ := v.(*user)
	return u, err
}

func valueLookedAt(id string) *user {
	v, _, _ := g.Do(id, mayBeNil)
	if v == nil {
		return nil
	}
	return v.(*user)
}

func typeSwitch(id string) *user {
	v, _, _ := g.Do(id, mayBeNil)
	switch v := v.(type) {
	case *user:
		return v
	}
	return nil
}

// A nil of a type is not equal to nil as an any.
func typedNil(id string) (*user, error) {
	v, err, _ := g.Do(id, func() (any, error) { return load() })
	return v.(*user), err
}

func neverNil(id string) (bool, error) {
	v, err, _ := g.Do(id, func() (any, error) {
		func() (any, error) { return nil, nil }()
		return true, nil
	})
	return v.(bool), err
}

func unknown(id string, fn func() (any, error)) (bool, error) {
	v, err, _ := g.Do(id, fn)
	return v.(bool), err
}

// A function that calls itself is not followed forever.
func recursive(n int) (any, error) { return recursive(n - 1) }

func recursion(id string) (bool, error) {
	v, err, _ := g.Do(id, func() (any, error) { return recursive(1) })
	return v.(bool), err
}

// To set the error is not to look at it.
func setError(id string) (*user, error) {
	v, err, _ := g.Do(id, mayBeNil)
	err = nil
	return v.(*user), err // want `this type assertion panics`
}

func blank(id string) bool {
	_, err, _ := g.Do(id, mayBeNil)
	return err == nil
}
