// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

// Package moved has groups whose values have one type.
package moved

import (
	"context"
	"net/url"

	"golang.org/x/sync/singleflight"
)

type user struct{ name string }

type store struct {
	users singleflight.Group  // want `users can be a Group\[string, \*user\] of example.com/singleflight`
	urls  *singleflight.Group // want `urls can be a Group\[string, \*url.URL\]`
	done  singleflight.Group  // want `done can be a Group\[string, struct{}\]`
}

var (
	names  singleflight.Group        // want `names can be a Group\[string, string\]`
	counts = new(singleflight.Group) // want `counts can be a Group\[string, int\]`
	found  singleflight.Group        // want `found can be a Group\[string, user\]`
	chans  singleflight.Group        // want `chans can be a Group\[string, \*user\]`
	flags  = &singleflight.Group{}   // want `flags can be a Group\[string, bool\]`
)

func newStore() *store {
	return &store{urls: &singleflight.Group{}}
}

func load(id string) (*user, error) { return nil, nil }

func (s *store) user(id string) (*user, error) {
	v, err, _ := s.users.Do(id, func() (interface{}, error) {
		u, err := load(id)
		if err != nil {
			return nil, err
		}
		return u, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*user), nil
}

func (s *store) name(id string) (string, error) {
	defer s.users.Forget(id)
	v, err, shared := s.users.Do(id, func() (any, error) { return load(id) })
	if err != nil || shared {
		return "", err
	}
	return v.(*user).name, nil
}

func (s *store) url(id string) (*url.URL, error) {
	s.urls = &singleflight.Group{}
	v, err, _ := s.urls.Do(id, func() (any, error) {
		return url.Parse(id)
	})
	if err != nil {
		return nil, err
	}
	u, ok := v.(*url.URL)
	if !ok {
		return nil, nil
	}
	return u, nil
}

func (s *store) setError(id string) (err error) {
	_, err, _ = s.done.Do(id, func() (any, error) { return nil, nil })
	return err
}

func (s *store) inBackground(id string) {
	go s.done.Do(id, func() (any, error) { return nil, nil })
	defer s.done.Do(id, func() (any, error) { return nil, nil })
}

func (s *store) refresh(id string) error {
	s.done.Do(id, func() (any, error) { return nil, nil })
	_, err, _ := s.done.Do(id, func() (any, error) {
		if err := context.Background().Err(); err != nil {
			return nil, err
		}
		func() (any, error) { return 1, nil }()
		return nil, nil
	})
	return err
}

func name(id string) (string, error) {
	v, err, _ := names.Do(id, func() (any, error) {
		if id == "" {
			return nil, context.Canceled
		}
		return "name", nil
	})
	if err != nil {
		return "", err
	}
	return v.(string), nil
}

func count(id string) int {
	var v, err, _ = counts.Do(id, func() (any, error) {
		if id == "" {
			return nil, context.Canceled
		}
		return 1, nil
	})
	if err != nil {
		return 0
	}
	return v.(int)
}

func find(id string) user {
	v, err, _ := found.Do(id, func() (any, error) {
		if id == "" {
			return nil, context.Canceled
		}
		return user{id}, nil
	})
	if err != nil {
		return user{}
	}
	return v.(user)
}

func flag(id string) bool {
	v, _, _ := flags.Do(id, func() (any, error) { return true, nil })
	return v.(bool)
}

func flagOrError(id string) bool {
	v, err, _ := flags.Do(id, func() (any, error) {
		if id == "" {
			return nil, context.Canceled
		}
		return true, nil
	})
	return err == nil && v.(bool)
}

func channel(ctx context.Context, id string) (*user, error) {
	<-chans.DoChan(id, func() (any, error) { return load(id) })
	if r := <-chans.DoChan(id, func() (any, error) { return load(id) }); r.Shared {
		return r.Val.(*user), r.Err
	}
	ch := chans.DoChan(id, func() (any, error) {
		u, err := load(id)
		if err != nil {
			return nil, err
		}
		return u, nil
	})
	select {
	case r := <-ch:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*user), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
