// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package samples

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight/examples/internal/samples/before"
)

const root = "../../.."

// unindent trims each line, so that a statement in a function and one in a
// page compare equal.
func unindent(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return strings.Join(lines, "\n")
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	goBlock   = regexp.MustCompile("(?ms)^[ \t]*```go\n(.*?)^[ \t]*```$")
	docBlock  = regexp.MustCompile(`(?m)(?:^//\t.*\n(?:^//\n)?)+`)
	docMark   = regexp.MustCompile(`(?m)^//\t?`)
	testNames = regexp.MustCompile("`((?:Test|Benchmark|Fuzz|Example)[A-Z]\\w*)`")
	testFuncs = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz|Example)\w*)\(`)
)

// What the pages show is in this package and those below it, which compile.
func TestPagesShowCodeThatCompiles(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, "before/before.go", "fleets/fleets.go")
	var code strings.Builder
	for _, file := range files {
		code.WriteString(unindent(read(t, file)) + "\n")
	}
	check := func(t *testing.T, block string) {
		t.Helper()
		for part := range strings.SplitSeq(block, "\n\n") {
			if part = unindent(part); !strings.Contains(code.String(), part) {
				t.Errorf("shown, and not in these packages:\n%s", part)
			}
		}
	}
	for page, want := range map[string]int{
		"README.md": 3, "MIGRATING.md": 3, "TESTING.md": 1,
		"fleet/README.md": 1, "fleet/natskv/README.md": 1, "fleet/redis/README.md": 1,
	} {
		t.Run(page, func(t *testing.T) {
			blocks := goBlock.FindAllStringSubmatch(read(t, filepath.Join(root, page)), -1)
			if len(blocks) != want {
				t.Errorf("%d blocks of code, want %d", len(blocks), want)
			}
			for _, block := range blocks {
				check(t, block[1])
			}
		})
	}
	t.Run("doc.go", func(t *testing.T) {
		blocks := docBlock.FindAllString(read(t, filepath.Join(root, "doc.go")), -1)
		if want := 3; len(blocks) != want {
			t.Errorf("%d blocks of code, want %d", len(blocks), want)
		}
		for _, block := range blocks {
			check(t, docMark.ReplaceAllString(block, ""))
		}
	})
}

// The tests that the pages name exist.
func TestPagesNameTestsThatExist(t *testing.T) {
	var pages []string
	exist := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata"):
			return filepath.SkipDir
		case strings.HasSuffix(path, ".md"):
			pages = append(pages, path)
		case strings.HasSuffix(path, "_test.go"):
			for _, m := range testFuncs.FindAllStringSubmatch(read(t, path), -1) {
				exist[m[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, page := range pages {
		for _, m := range testNames.FindAllStringSubmatch(read(t, page), -1) {
			named++
			if !exist[m[1]] {
				t.Errorf("%s names %s, which does not exist", page, m[1])
			}
		}
	}
	if named < 20 {
		t.Errorf("%d tests named in %q, want at least 20", named, pages)
	}
}

// slowIssuer issues a token a second after it has been asked.
type slowIssuer struct{ asked int }

func (i *slowIssuer) Token(ctx context.Context, tenant string) (Token, error) {
	i.asked++
	if tenant == "panics" {
		panic("no such tenant")
	}
	select {
	case <-time.After(time.Second):
		return Token{Value: "token of " + tenant}, nil
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
}

type tokenCache struct{ m sync.Map }

func (c *tokenCache) Set(tenant string, t Token) { c.m.Store(tenant, t) }
func (c *tokenCache) Delete(tenant string)       { c.m.Delete(tenant) }
func (c *tokenCache) Get(tenant string) (Token, bool) {
	t, ok := c.m.Load(tenant)
	if !ok {
		return Token{}, false
	}
	return t.(Token), true
}

// Both versions in MIGRATING.md do what it says that stays: a caller leaves in
// time, the load continues and fills the cache, and a panic is an error.
func TestTokens(t *testing.T) {
	for name, newGet := range map[string]func(*slowIssuer) func(context.Context, string) (Token, error){
		"x/sync": func(i *slowIssuer) func(context.Context, string) (Token, error) {
			return before.New(new(tokenCache), i)
		},
		"Fill": func(i *slowIssuer) func(context.Context, string) (Token, error) {
			return (&tokens{cache: new(tokenCache), issuer: i}).get
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				issuer := new(slowIssuer)
				get := newGet(issuer)
				impatient, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				defer cancel()
				if _, err := get(impatient, "a"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("impatient: error %v, want deadline exceeded", err)
				}
				time.Sleep(time.Second)
				begin := time.Now()
				if tok, err := get(t.Context(), "a"); tok.Value != "token of a" || err != nil || time.Since(begin) != 0 {
					t.Errorf("later: %v, %v after %v, want the token from the cache", tok, err, time.Since(begin))
				}
				if issuer.asked != 1 {
					t.Errorf("the issuer was asked %d times, want once", issuer.asked)
				}
				if _, err := get(t.Context(), "panics"); err == nil || !strings.Contains(err.Error(), "no such tenant") {
					t.Errorf("error %v, want the panic's", err)
				}
			})
		})
	}
}

// A token that is revoked while it is being issued does not come into the
// cache.
func TestTokensRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := new(slowIssuer)
		s := &tokens{cache: new(tokenCache), issuer: issuer}
		go s.get(t.Context(), "a")
		synctest.Wait()
		s.revoked("a")
		time.Sleep(2 * time.Second)
		if tok, ok := s.cache.Get("a"); ok {
			t.Errorf("in the cache: %v, want nothing", tok)
		}
	})
}

// The user and page functions of README.md and doc.go work.
func TestReadme(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, get := range []func(context.Context, int64) (User, error){user, fillWithRecover} {
			if err := saveUser(t.Context(), User{1, "Ada"}); err != nil {
				t.Error(err)
			}
			if u, err := get(t.Context(), 1); u.Name != "Ada" || err != nil {
				t.Errorf("%v, %v, want Ada", u, err)
			}
		}
		ctx, cancel := context.WithTimeout(noValues{t.Context()}, time.Second)
		defer cancel()
		if _, err := showPage(ctx, "/"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want deadline exceeded", err)
		}
	})
}

// The test that TESTING.md shows.
func TestProfiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		load := func(ctx context.Context) (string, error) {
			loads++
			time.Sleep(time.Second) // takes no time
			return "Ada", nil
		}
		for range 10 {
			go profiles.DoContext(t.Context(), 1, load)
		}
		synctest.Wait() // all ten are waiting
		if s := profiles.Stats(); loads != 1 || s.Joined != 9 {
			t.Errorf("10 callers: %d loads, %d joined, want 1, 9", loads, s.Joined)
		}
		time.Sleep(time.Second)
	})
}
