// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/singleflight/examples/internal/draw"
)

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "stampede.exe")
		// Without -race, which slows SQLite down fiftyfold.
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			panic(fmt.Sprintf("%v\n%s", err, out))
		}
		return m.Run()
	}())
}

// command returns a command that runs stampede, and the temporary directory that it uses for its database.
func command(t *testing.T, args ...string) (cmd *exec.Cmd, temp string) {
	temp = t.TempDir()
	cmd = exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	return cmd, temp
}

// try runs cmd and returns its exit status and what it wrote.
func try(t *testing.T, cmd *exec.Cmd) (status int, stdout, stderr string) {
	t.Helper()
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

// good runs stampede and returns what it printed. The run must succeed, print no error, and leave no file.
func good(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	cmd, temp := command(t, args...)
	status, stdout, stderr := try(t, cmd)
	if status != 0 || stderr != "" {
		t.Fatalf("stampede %v: exit status %d, stderr %q, want 0 and nothing", args, status, stderr)
	}
	wantFiles(t, temp)
	return stdout
}

func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, want) {
		t.Errorf("files: %q, want %q", got, want)
	}
}

func TestJSON(t *testing.T) {
	const callers = 1000
	type half struct {
		Queries int64 `json:"queries"`
		Wall    int64 `json:"wall_ns"`
		Slowest int64 `json:"slowest_ns"`
		Median  int64 `json:"median_ns"`
	}
	var got struct {
		Callers int  `json:"callers"`
		Without half `json:"without"`
		With    half `json:"with"`
	}
	out := good(t, "-callers", fmt.Sprint(callers), "-json")
	dec := json.NewDecoder(strings.NewReader(out))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if err := dec.Decode(new(any)); err != io.EOF {
		t.Errorf("after the object: %v, want EOF", err)
	}

	if got.Callers != callers || got.Without.Queries != callers || got.With.Queries != 1 {
		t.Errorf("%d callers, %d queries without and %d with, want %d, %[4]d and 1",
			got.Callers, got.Without.Queries, got.With.Queries, callers)
	}
	for _, h := range []half{got.Without, got.With} {
		if !(0 < h.Median && h.Median <= h.Slowest && h.Slowest <= h.Wall) {
			t.Errorf("%+v: want 0 < median <= slowest <= wall", h)
		}
	}
}

func TestTable(t *testing.T) {
	out := good(t, "-callers", "1200", "-window", "1ms")
	const d = `\d+(\.\d+)?(µs|ms|s)`
	for _, want := range []string{
		`^1,200 callers .* within 1ms\.`,
		`queries run +1,200 +1\n`,
		`last caller answered +` + d + ` +` + d + `\n`,
		`slowest caller +` + d + ` +` + d + `\n`,
		`median caller +` + d + ` +` + d + `\n`,
		`queries saved +1,199\n`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no match for %q in\n%s", want, out)
		}
	}
}

// If all callers arrive at once, the last answer is that of the slowest caller,
// and is printed once.
func TestTableAtOnce(t *testing.T) {
	const d = `\d+(\.\d+)?(µs|ms|s)`
	out := good(t, "-callers", "1200")
	for _, want := range []string{
		`^1,200 callers .* all at once\.`,
		`A query takes ` + d + ` when nothing else runs\.`,
		`slowest caller +` + d + ` +` + d + `\n`,
		`take turns on \d+ processors?\.\n`,
	} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("no match for %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "last caller answered") {
		t.Errorf("one figure is printed twice in\n%s", out)
	}
}

func TestHelp(t *testing.T) {
	out := good(t, "-h")
	for _, want := range []string{"usage: stampede", "-callers", "-window", "-o file", "-json"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestBadFlags(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		args string
		want string
	}{
		{"-callers 0", "-callers 0"},
		{"-callers -5", "-callers -5"},
		{"-callers 100001", "-callers 100001"},
		{"-callers many", `"many"`},
		{"-window -1ns", "-window -1ns"},
		{"-window 5", `"5"`},
		{"-o", "-o"},
		{"-o " + dir, dir},
		{"-o " + filepath.Join(dir, "none", "a.svg"), filepath.Join(dir, "none", "a.svg") + ":"},
		{"-o " + os.DevNull, os.DevNull},
		{"now", `"now"`},
		{"-callers 10 -json 10", `"10"`},
		{"-speed 3", "-speed"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			cmd, temp := command(t, strings.Fields(tt.args)...)
			// If it began to work, it would fail here with exit status 1.
			cmd.Env = append(cmd.Env, "TMPDIR="+filepath.Join(temp, "none"))
			status, stdout, stderr := try(t, cmd)
			if status != 2 {
				t.Errorf("exit status %d, want 2", status)
			}
			if stdout != "" {
				t.Errorf("stdout %q, want nothing", stdout)
			}
			line, rest, _ := strings.Cut(stderr, "\n")
			if !strings.HasPrefix(line, "stampede: ") || !strings.Contains(line, tt.want) || rest != "" {
				t.Errorf("stderr %q, want one line about %s", stderr, tt.want)
			}
			wantFiles(t, cmd.Dir)
			wantFiles(t, dir)
		})
	}
}

// A drawing has the parts of a picture that the tests check.
type drawing struct {
	Title  string  `xml:"title"`
	Groups []group `xml:"g"`
}

type group struct {
	ID    string `xml:"id,attr"`
	Parts []struct {
		Class string     `xml:"class,attr"`
		Count []string   `xml:"text>tspan"`
		Paths []struct{} `xml:"path"`
	} `xml:"g"`
}

// half returns the count that is written in a group, and the number of its lines of each kind.
func (d drawing) half(id string) (count string, wait, work int) {
	for _, g := range d.Groups {
		if g.ID != id {
			continue
		}
		for _, p := range g.Parts {
			count += strings.Join(p.Count, "")
			switch p.Class {
			case "wait":
				wait += len(p.Paths)
			case "work":
				work += len(p.Paths)
			}
		}
	}
	return count, wait, work
}

func parseDrawing(t *testing.T, data []byte) (d drawing) {
	t.Helper()
	if err := xml.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestPicture(t *testing.T) {
	for _, tt := range []struct {
		callers, lines int
		counts         [2]string
	}{
		{1, 1, [2]string{"1 query", "1 query"}},
		{30, 30, [2]string{"30 queries", "1 query"}},
		{1000, plotHeight / linePitch, [2]string{"1,000 queries", "1 query"}},
	} {
		t.Run(fmt.Sprint(tt.callers), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "a.svg")
			if tt.callers == 30 { // one of the cases replaces a file
				if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			good(t, "-callers", fmt.Sprint(tt.callers), "-json", "-o", path)
			wantFiles(t, dir, "a.svg")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(data) > 200_000 {
				t.Errorf("%d bytes, want 200,000 at most", len(data))
			}

			d := parseDrawing(t, data)
			if want := tt.counts[0] + " without singleflight, " + tt.counts[1] + " with it"; !strings.Contains(d.Title, want) {
				t.Errorf("title %q, want %q", d.Title, want)
			}
			for i, id := range []string{"without", "with"} {
				count, wait, work := d.half(id)
				if count != tt.counts[i] {
					t.Errorf("%s: heading says %q, want %q", id, count, tt.counts[i])
				}
				// All callers arrived before the first query ended, so each has one.
				if wait != tt.lines || work != tt.lines {
					t.Errorf("%s: %d lines, %d with a query, want %d", id, wait, work, tt.lines)
				}
			}
		})
	}
}

// The picture shows the times that were measured. It has room for three of the
// five callers: the first, the middle and the last.
func TestPictureScale(t *testing.T) {
	ms := time.Millisecond
	a := axis{100, 200, 10 * ms}
	p := a.panel(half{callers: []caller{
		{0, 10 * ms, 2 * ms, 4 * ms},
		{},
		{5 * ms, 5 * ms, 2 * ms, 4 * ms}, // came after the query
		{},
		{3 * ms, 7 * ms, 2 * ms, 4 * ms}, // joined it
	}}, 3*linePitch)
	want := []line{
		{"1", "100", "200", "120", "140"},
		{"3", "150", "151.5", "", ""},
		{"5", "130", "170", "130", "140"},
	}
	if !slices.Equal(p.Lines, want) {
		t.Errorf("lines %v, want %v", p.Lines, want)
	}
	if got, want := fmt.Sprint(p.Ticks), "[{100 0s} {120 2ms} {140 4ms} {160 6ms} {180 8ms} {200 10ms}]"; got != want {
		t.Errorf("ticks %s, want %s", got, want)
	}
}

// If both halves take about as long, there is no lens.
func TestPictureLens(t *testing.T) {
	for _, tt := range []struct {
		with time.Duration
		want bool
	}{
		{time.Millisecond, true},
		{time.Second, false},
	} {
		var b bytes.Buffer
		err := render(&b, report{
			Callers: 1,
			Without: half{1, time.Second, time.Second, time.Second, []caller{{0, time.Second, 0, time.Second}}},
			With:    half{1, tt.with, tt.with, tt.with, []caller{{0, tt.with, 0, tt.with}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		got := slices.ContainsFunc(parseDrawing(t, b.Bytes()).Groups, func(g group) bool { return g.ID == "lens" })
		if got != tt.want {
			t.Errorf("%v beside a second: lens %v, want %v", tt.with, got, tt.want)
		}
	}
}

// The file that a link leads to is replaced, and the link stays.
func TestPictureThroughLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "a.svg"), filepath.Join(dir, "link.svg")
	if err := errors.Join(os.WriteFile(file, []byte("old"), 0o600), os.Symlink(file, link)); err != nil {
		t.Fatal(err)
	}
	pic, err := draw.Create(link)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(pic, "new")
	if err := pic.Commit(); err != nil {
		t.Fatal(err)
	}
	pic.Discard()
	wantFiles(t, dir, "a.svg", "link.svg")
	if data, _ := os.ReadFile(file); string(data) != "new" {
		t.Errorf("%q where the link leads, want the new picture", data)
	}
	if info, err := os.Stat(file); err != nil || info.Mode() != 0o644 {
		t.Errorf("mode %v, %v, want -rw-r--r--", info.Mode(), err)
	}
	if to, err := os.Readlink(link); to != file {
		t.Errorf("the link leads to %q, %v, want %q", to, err, file)
	}
}

// If the run fails, an earlier picture stays.
func TestPictureKept(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.svg")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd, temp := command(t, "-o", path)
	cmd.Env = append(cmd.Env, "TMPDIR="+filepath.Join(temp, "none")) // the database cannot be created there
	status, stdout, stderr := try(t, cmd)
	if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit status %d, stdout %q, stderr %q, want 1, nothing, and a line", status, stdout, stderr)
	}
	wantFiles(t, dir, "a.svg")
	if data, err := os.ReadFile(path); string(data) != "old" {
		t.Errorf("%q, %v, want the old picture", data, err)
	}
}

func TestInterrupt(t *testing.T) {
	cmd, temp := command(t, "-callers", "10", "-window", "10h", "-o", "a.svg")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for begun := false; !begun; time.Sleep(time.Millisecond) {
		entries, err := os.ReadDir(temp)
		if err != nil {
			t.Fatal(err)
		}
		begun = len(entries) > 0
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != 130 {
		t.Errorf("exit status %d, want 130", got)
	}
	if got, want := stderr.String(), "stampede: interrupt signal received\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
	wantFiles(t, temp)
	wantFiles(t, cmd.Dir)
}

// If the reader of the output has gone, the program ends at once and leaves no file.
func TestReaderGone(t *testing.T) {
	cmd, temp := command(t, "-callers", "3", "-o", "a.svg")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	cmd.Stdout = w
	if err := cmd.Run(); err == nil {
		t.Error("no error from writing to a closed pipe")
	}
	wantFiles(t, temp)
	wantFiles(t, cmd.Dir, "a.svg")
}

func TestStore(t *testing.T) {
	s, err := newStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	want := make(map[key]sum) // computed in another way than by truth
	for n := range rows {
		k, cents := order(n)
		was := want[k]
		want[k] = sum{was.orders + 1, was.cents + cents}
	}
	var wg sync.WaitGroup
	for k, want := range want {
		wg.Go(func() {
			a, err := s.query(t.Context(), k)
			if err != nil || a.sum != want || truth(k) != want {
				t.Errorf("%v: query %+v, %v, truth %+v, want %+v", k, a.sum, err, truth(k), want)
			}
			if !a.began.Before(a.ended) {
				t.Errorf("%v: from %v to %v", k, a.began, a.ended)
			}
		})
	}
	wg.Wait()
	if got := s.queries.Load(); got != int64(len(want)) {
		t.Errorf("%d queries counted, want %d", got, len(want))
	}
}

// The wait for a connection is not counted as a query, nor as part of its time.
func TestStoreWork(t *testing.T) {
	s, err := newStore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var held []io.Closer
	for range conns {
		c, err := s.db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	asked := make(chan answer)
	go func() {
		a, _ := s.query(t.Context(), key{"Bergen", time.March})
		asked <- a
	}()
	for s.db.Stats().WaitCount == 0 {
		time.Sleep(time.Millisecond)
	}
	if got := s.queries.Load(); got != 0 {
		t.Errorf("%d queries counted without a connection, want 0", got)
	}
	free := time.Now()
	for _, c := range held {
		c.Close()
	}
	if a := <-asked; a.began.Before(free) {
		t.Errorf("began %v before there was a connection", free.Sub(a.began))
	}
	if got := s.queries.Load(); got != 1 {
		t.Errorf("%d queries counted, want 1", got)
	}
}

// fake is a database of one key. A query takes 10 ms.
type fake struct {
	queries atomic.Int64
	answer  func(n int64) (sum, error) // to the n-th query
}

var (
	aKey = key{"Bergen", time.March}
	aSum = sum{3, 1234}
)

func (f *fake) query(ctx context.Context, k key) (a answer, err error) {
	n := f.queries.Add(1)
	a.began = time.Now()
	time.Sleep(10 * time.Millisecond)
	a.ended = time.Now()
	a.sum = aSum
	if f.answer != nil {
		a.sum, err = f.answer(n)
	}
	return a, err
}

func TestWindow(t *testing.T) {
	const ms = time.Millisecond
	s := stampede{callers: 5, window: 16 * ms, key: aKey, want: aSum}
	for _, tt := range []struct {
		name    string
		load    func(*cache, load) load
		queries int64
		want    []caller
	}{
		{"without", without, 5, []caller{
			{0, 10 * ms, 0, 10 * ms},
			{4 * ms, 14 * ms, 4 * ms, 14 * ms},
			{8 * ms, 18 * ms, 8 * ms, 18 * ms},
			{12 * ms, 22 * ms, 12 * ms, 22 * ms},
			{16 * ms, 26 * ms, 16 * ms, 26 * ms},
		}},
		// Three share the flight, and two find its value in the cache.
		{"with", with, 1, []caller{
			{0, 10 * ms, 0, 10 * ms},
			{4 * ms, 10 * ms, 0, 10 * ms},
			{8 * ms, 10 * ms, 0, 10 * ms},
			{12 * ms, 12 * ms, 0, 10 * ms},
			{16 * ms, 16 * ms, 0, 10 * ms},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var (
					f fake
					c cache
				)
				got, err := s.run(t.Context(), &c, tt.load(&c, f.query))
				if err != nil {
					t.Fatal(err)
				}
				slices.SortFunc(got, func(a, b caller) int { return int(a.arrived - b.arrived) })
				if !slices.Equal(got, tt.want) {
					t.Errorf("callers %v, want %v", got, tt.want)
				}
				if got := f.queries.Load(); got != tt.queries {
					t.Errorf("%d queries, want %d", got, tt.queries)
				}
				if a, ok := c.Get(aKey); !ok || a.sum != aSum {
					t.Errorf("in the cache: %v, %v, want %v", a.sum, ok, aSum)
				}
			})
		})
	}
}

func TestMeasure(t *testing.T) {
	h := measure([]caller{{arrived: 0, answered: 3}, {arrived: 1, answered: 9}, {arrived: 8, answered: 10}}, 7)
	if h.Queries != 7 || h.Wall != 10 || h.Slowest != 8 || h.Median != 3 {
		t.Errorf("%+v, want 7 queries, wall 10, slowest 8, median 3", h)
	}
}

// A wrong or missing answer fails the run.
func TestWrongAnswer(t *testing.T) {
	lost := errors.New("connection lost")
	for _, tt := range []struct {
		name   string
		answer func(n int64) (sum, error)
		want   string
	}{
		{"wrong", func(n int64) (sum, error) {
			if n == 50 {
				return sum{3, 1233}, nil
			}
			return aSum, nil
		}, "got {orders:3 cents:1233} for {shop:Bergen month:3}, want {orders:3 cents:1234}"},
		{"lost", func(n int64) (sum, error) {
			if n == 50 {
				return aSum, lost
			}
			return aSum, nil
		}, "connection lost"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fake{answer: tt.answer}
				var c cache
				s := stampede{callers: 100, key: aKey, want: aSum}
				if _, err := s.run(t.Context(), &c, without(&c, f.query)); err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v, want %q", err, tt.want)
				}
			})
		})
	}
}

// The run ends without waiting for callers that are not due yet.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		var c cache
		s := stampede{callers: 3, window: 10 * time.Hour, key: aKey, want: aSum}
		_, err := s.run(ctx, &c, without(&c, new(fake).query))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute {
			t.Errorf("error %v after %v, want deadline exceeded after 1m", err, time.Since(begin))
		}
	})
}

func TestColdCache(t *testing.T) {
	var c cache
	c.Set(aKey, answer{sum: aSum})
	s := stampede{callers: 3, key: aKey, want: aSum}
	if _, err := s.run(t.Context(), &c, without(&c, new(fake).query)); err == nil {
		t.Error("no error from a run that found its answers in the cache")
	}
}

func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		n := 0
		stop := progress(&b, func() string { n++; return fmt.Sprint(n) })
		time.Sleep(250 * time.Millisecond)
		stop()
		if got, want := b.String(), "\r1\x1b[K\r2\x1b[K\r\x1b[K"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
