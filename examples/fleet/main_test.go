// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "fleet.exe")
		// Without -race, which slows SQLite down fiftyfold.
		if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
			panic(fmt.Sprintf("%v\n%s", err, out))
		}
		return m.Run()
	}())
}

// try runs fleet, and fails the test if it leaves a file or a process behind.
func try(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	temp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	return finish(t, cmd, temp, cmd.Run)
}

func finish(t *testing.T, cmd *exec.Cmd, temp string, run func() error) (status int, stdout, stderr string) {
	t.Helper()
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children are in the group too
	if err := run(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("fleet leaves files behind: %v, %v", left, err)
	}
	if err := syscall.Kill(-cmd.Process.Pid, 0); err != syscall.ESRCH {
		t.Errorf("fleet leaves processes behind: %v", err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func good(t *testing.T, args ...string) string {
	t.Helper()
	status, stdout, stderr := try(t, args...)
	if status != 0 || stderr != "" {
		t.Fatalf("fleet %v: exit status %d, stderr %q, want 0 and nothing", args, status, stderr)
	}
	return stdout
}

func TestJSON(t *testing.T) {
	for _, kill := range []bool{false, true} {
		var r struct {
			Processes, Callers, Loads int
			Slowest                   time.Duration `json:"slowest_ns"`
			Each                      []struct {
				Callers, Loads int
				Slowest        time.Duration `json:"slowest_ns"`
				Killed         bool
			}
		}
		args := []string{"-json"}
		want := 1
		if kill {
			args, want = append(args, "-kill"), 2
		}
		dec := json.NewDecoder(strings.NewReader(good(t, args...)))
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if _, err := dec.Token(); err != io.EOF {
			t.Errorf("after the object: %v, want EOF", err)
		}
		if r.Processes != 4 || r.Callers != 4000 || r.Loads != want || r.Slowest <= 0 || len(r.Each) != 4 {
			t.Errorf("%+v, want 4 processes, 4000 callers, %d loads", r, want)
		}
		loads, killed := 0, 0
		var slowest time.Duration
		for _, p := range r.Each {
			loads += p.Loads
			slowest = max(slowest, p.Slowest)
			if p.Killed {
				killed++
				if p.Loads != 1 {
					t.Errorf("the killed process loaded %d times, want 1", p.Loads)
				}
			}
		}
		if loads != r.Loads || slowest != r.Slowest || killed == 1 != kill {
			t.Errorf("%+v does not add up", r)
		}
	}
}

func TestTable(t *testing.T) {
	got := good(t, "-processes", "3", "-callers", "1500", "-kill")
	want := regexp.MustCompile(`^3 processes with 1,500 callers each ask for one cold key.

   process   callers   loads   slowest
(?:         [123]     1,500       [01] +(?:\d[\d.]*m?s|killed)
){3}       all     4,500       2 +\d[\d.]*m?s

Process [123] was killed while it loaded. Process [123] took over after \d[\d.]*m?s; the lease is 3s.
$`)
	if !want.MatchString(got) || strings.Count(got, " killed\n") != 1 {
		t.Errorf("got:\n%s", got)
	}
}

func TestPicture(t *testing.T) {
	for _, kill := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "fleet.svg")
		args := []string{"-processes", "2", "-callers", "10", "-o", path}
		loads, crosses := "1 load", 0
		if kill {
			args = append(args, "-kill")
			loads, crosses = "2 loads", 1
		}
		good(t, args...)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var pic struct {
			Title string `xml:"title"`
			G     []struct {
				Class string `xml:"class,attr"`
				Rect  []struct {
					Class string  `xml:"class,attr"`
					X     float64 `xml:"x,attr"`
					Width float64 `xml:"width,attr"`
				} `xml:"rect"`
				Path []struct {
					Class string `xml:"class,attr"`
				} `xml:"path"`
			} `xml:"g"`
		}
		if err := xml.Unmarshal(data, &pic); err != nil {
			t.Fatal(err)
		}
		if want := "20 callers in 2 processes, one key: " + loads; pic.Title != want {
			t.Errorf("title %q, want %q", pic.Title, want)
		}
		lanes, bars, killed := 0, map[string]int{}, 0
		for _, g := range pic.G {
			if g.Class != "lane" {
				continue
			}
			lanes++
			for _, r := range g.Rect {
				bars[r.Class]++
				if r.Width <= 0 || r.X < plotLeft || r.X+r.Width > plotRight+.2 {
					t.Errorf("a bar from %v, %v wide, is not within the plot", r.X, r.Width)
				}
			}
			for _, p := range g.Path {
				if p.Class == "kill" {
					killed++
				}
			}
		}
		if lanes != 2 || bars["wait"] != 2 || bars["work"] != 1+crosses || bars["answer"] != 2-crosses || killed != crosses {
			t.Errorf("kill=%v: %d lanes, bars %v, %d crosses", kill, lanes, bars, killed)
		}
	}
}

func TestBadFlags(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-processes 1", "-processes 1: want 2 to 16"},
		{"-processes 17", "-processes 17: want 2 to 16"},
		{"-callers 0", "-callers 0: want 1 to 5000 in each of 4 processes"},
		{"-callers 5001", "-callers 5001: want 1 to 5000 in each of 4 processes"},
		{"-callers x", `invalid value "x" for flag -callers`},
		{"-redis nonsense", `-redis "nonsense": want host:port`},
		{"more", `unexpected argument "more"`},
		{"-o " + filepath.Join(t.TempDir(), "none", "a.svg"), "a.svg: no such file or directory"},
	} {
		status, stdout, stderr := try(t, strings.Fields(tt.args)...)
		if status != 2 || stdout != "" || !strings.HasPrefix(stderr, "fleet: ") || !strings.Contains(stderr, tt.want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("fleet %s: exit status %d, stdout %q, stderr %q, want 2, nothing, and a line: %s", tt.args, status, stdout, stderr, tt.want)
		}
	}
	if got := good(t, "-h"); !strings.HasPrefix(got, "usage: fleet ") || !strings.Contains(got, "-kill") {
		t.Errorf("-h prints %q", got)
	}
}

// With -redis, the processes agree over a Redis server that is already running.
func TestRedis(t *testing.T) {
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("redis-server is not installed")
		}
		t.Skip("redis-server is not installed (Debian: apt-get install redis-server)")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	status, stdout, stderr := try(t, "-redis", addr)
	if want := "connection refused"; status != 1 || stdout != "" || !strings.Contains(stderr, want) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("without a server: exit status %d, stdout %q, stderr %q, want 1, nothing, and a line: %s", status, stdout, stderr, want)
	}

	_, port, _ := net.SplitHostPort(addr)
	redis := exec.CommandContext(t.Context(), "redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", t.TempDir())
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		redis.Process.Kill()
		redis.Wait()
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("redis-server does not start")
		}
	}
	for kill, want := range map[string]string{"-kill=false": `"loads":1,`, "-kill=true": `"loads":2,`} {
		if got := good(t, "-json", kill, "-redis", addr); !strings.Contains(got, want) {
			t.Errorf("fleet %s: %s, want %s", kill, got, want)
		}
	}
}

// Ctrl-C ends the program and its processes, also during a load.
func TestInterrupt(t *testing.T) {
	temp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), binary, "-kill")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	status, stdout, stderr := finish(t, cmd, temp, func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			if db, _ := filepath.Glob(filepath.Join(temp, "fleet-*", "nats", "jetstream", "*", "streams", "KV_"+bucket)); db != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("fleet does not begin")
			}
		}
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		return cmd.Wait()
	})
	if status != 130 || stdout != "" || !strings.HasPrefix(stderr, "fleet: ") {
		t.Errorf("exit status %d, stdout %q, stderr %q, want 130, nothing, and a line", status, stdout, stderr)
	}
}

// The database gives the answer that truth computes without it.
func TestStore(t *testing.T) {
	st, err := openStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	if err := st.fill(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := st.kept(t.Context(), shop); ok || err != nil {
		t.Errorf("an answer is stored before any was found: %v", err)
	}
	got, err := st.query(t.Context(), shop)
	if want := truth(shop); got != want || want.Pairs == 0 || err != nil {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	if err := st.keep(t.Context(), shop, got); err != nil {
		t.Fatal(err)
	}
	if a, ok, err := st.kept(t.Context(), shop); a != got || !ok || err != nil {
		t.Errorf("kept %v, %v, %v, want %v", a, ok, err, got)
	}
	for _, p := range []int{1, 1, 2} {
		if err := st.count(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := st.loads(t.Context(), 3); fmt.Sprint(got) != "[0 2 1]" || err != nil {
		t.Errorf("loads %v, %v, want [0 2 1]", got, err)
	}
	if _, err := st.loads(t.Context(), 2); err == nil {
		t.Error("loads with a load of an unknown process: no error")
	}
}
