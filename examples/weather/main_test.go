// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
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
		binary = filepath.Join(dir, "weather.exe")
		args := []string{"build", "-o", binary}
		if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
			args = append(args, "-race")
		}
		if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
			panic(fmt.Sprintf("%v\n%s", err, out))
		}
		return m.Run()
	}())
}

// A process is a run of the program.
type process struct {
	service // only its URL is set
	cmd     *exec.Cmd
	stderr  bytes.Buffer
	tmp     string
}

func launch(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{tmp: t.TempDir()}
	p.cmd = exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	p.cmd.Env = append(os.Environ(), "TMPDIR="+p.tmp)
	p.cmd.Stderr = &p.stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok || !strings.HasPrefix(url, "http://127.0.0.1:") || strings.HasSuffix(url, ":0") {
		t.Fatalf("printed %q, %v", line, err)
	}
	p.url = url
	return p
}

// end waits for the end of the process, after a signal.
func (p *process) end(t *testing.T, status int) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the process does not end")
	}
	if got := p.cmd.ProcessState.ExitCode(); got != status {
		t.Errorf("exit status %d, want %d\n%s", got, status, &p.stderr)
	}
	if left, _ := filepath.Glob(filepath.Join(p.tmp, "*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func (p *process) flights(t *testing.T) map[string]float64 {
	var v struct{ Singleflight map[string]float64 }
	p.get("/debug/vars").decode(t, &v)
	return v.Singleflight
}

// TestShutdown sends the signal while requests of all kinds wait for their
// loads.
func TestShutdown(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			p := launch(t, "-slow", "4.5s")
			var all []<-chan response
			for range 20 {
				for _, path := range []string{"/city/Tokyo", "/city/Paris?wait=1m", "/cities?name=Tokyo&name=London"} {
					all = append(all, p.goGet(path))
				}
			}
			eventually(t, "all have arrived", func() bool {
				v := p.flights(t)
				return v["executions"] == 3 && v["joined"] == 4*20-3
			})
			if err := p.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			// A client without a connection gets none any more.
			fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			eventually(t, "no new requests", func() bool {
				return errors.Is(send(t.Context(), fresh, "GET", p.url+"/debug/vars", "").err, syscall.ECONNREFUSED)
			})
			for _, ch := range all {
				if resp := <-ch; resp.err != nil || resp.status != http.StatusOK {
					t.Errorf("dropped: %+v", resp)
				}
			}
			p.end(t, 0)
			if !strings.Contains(p.stderr.String(), "msg=stopped running=0") {
				t.Errorf("logged:\n%s", &p.stderr)
			}
		})
	}
}

// TestShutdownEndsLoads sends the signal during a load that no client waits for:
// the wait of the client was over, or it has hung up.
func TestShutdownEndsLoads(t *testing.T) {
	for name, leave := range map[string]func(p *process){
		"waited": func(p *process) { p.get("/city/Oslo?wait=100ms").want(t, http.StatusGatewayTimeout) },
		"hung up": func(p *process) {
			ctx, hangUp := context.WithCancel(t.Context())
			gone := make(chan response)
			go func() { gone <- send(ctx, http.DefaultClient, "GET", p.url+"/city/Oslo", "") }()
			eventually(t, "it has arrived", func() bool { return p.flights(t)["running"] == 1 })
			hangUp()
			<-gone
			eventually(t, "it has left", func() bool { return p.flights(t)["left"] == 1 })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, "-slow", "4.9s")
			leave(p)
			if v := p.flights(t); v["running"] != 1 {
				t.Errorf("the load has ended with its client: %v", v)
			}
			begun := time.Now()
			p.cmd.Process.Signal(syscall.SIGTERM)
			p.end(t, 0)
			if !strings.Contains(p.stderr.String(), "msg=stopped running=0") {
				t.Errorf("logged:\n%s", &p.stderr)
			}
			if took := time.Since(begun); took > 4*time.Second {
				t.Errorf("stopped in %v: the load was waited for", took)
			}
		})
	}
}

// TestShutdownIsBounded checks that a request that takes too long is dropped, and
// that the exit status shows it.
func TestShutdownIsBounded(t *testing.T) {
	t.Parallel()
	p := launch(t, "-slow", "4.9s", "-grace", "1ms")
	ch := p.goGet("/city/Tokyo")
	eventually(t, "it has arrived", func() bool { return p.flights(t)["running"] == 1 })
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.end(t, 1)
	if resp := <-ch; resp.err == nil {
		t.Errorf("it was answered: %+v", resp)
	}
}

func TestStop(t *testing.T) {
	var g gate
	f := start(t, hold(&g))
	f.get("/city/Oslo?wait=100ms").want(t, http.StatusGatewayTimeout)
	q := g.next(t)
	late, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.stop(late); !errors.Is(err, context.Canceled) {
		t.Errorf("stop = %v, with a load that is deaf", err)
	}
	select {
	case <-q.ctx.Done():
	case <-time.After(patience):
		t.Error("the load was not canceled")
	}
	q.verdict <- q.ctx.Err
	if err := f.stop(t.Context()); err != nil || f.flights.Stats().Running != 0 {
		t.Errorf("stop = %v, %+v", err, f.flights.Stats())
	}
}

// TestSecondSignal checks that a second signal ends the program at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	p := launch(t, "-slow", "4s")
	var wg sync.WaitGroup
	wg.Go(func() { p.get("/city/Tokyo") })
	eventually(t, "it has arrived", func() bool { return p.flights(t)["running"] == 1 })
	ended := make(chan struct{})
	go func() { p.cmd.Wait(); close(ended) }()
	eventually(t, "the process ends", func() bool {
		p.cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
	if p.cmd.ProcessState.Success() {
		t.Error("exit status 0, with a request dropped")
	}
	wg.Wait()
}

// TestDatabaseStays writes in one run, and reads that in the next.
func TestDatabaseStays(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "a b?c%d.db")
	for range 2 {
		p := launch(t, "-db", db)
		first := p.get("/city/Tokyo").answer(t)
		p.put("Tokyo", 99).want(t, http.StatusOK)
		if got := p.get("/city/Tokyo").answer(t); got.Celsius != 99 {
			t.Errorf("after PUT 99: %+v", got)
		}
		p.cmd.Process.Signal(syscall.SIGTERM)
		p.end(t, 0)
		if p.stderr.Reset(); first.Celsius == 99 {
			return
		}
	}
	t.Error("PUT was lost")
}

func TestProcessesShareRedis(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := filepath.Join(t.TempDir(), "weather.db")
	a, b := launch(t, "-db", db, "-redis", r.addr), launch(t, "-db", db, "-redis", r.addr)
	a.get("/city/Tokyo").want(t, http.StatusOK)
	eventually(t, "b finds what a has loaded", func() bool { return b.get("/city/Tokyo").answer(t).Source == "cache" })
	eventually(t, "a PUT", func() bool { return a.put("Tokyo", 99).status == http.StatusOK })
	if got := b.get("/city/Tokyo").answer(t); got.Celsius != 99 {
		t.Errorf("after PUT 99 in another process: %+v", got)
	}
	r.kill()
	b.get("/city/Tokyo").want(t, http.StatusOK)
	for _, p := range []*process{a, b} {
		p.cmd.Process.Signal(syscall.SIGTERM)
		p.end(t, 0)
	}
	if n := strings.Count(b.stderr.String(), "\n"); n != 2 || !strings.Contains(b.stderr.String(), outOfService) {
		t.Errorf("logged, in %d lines:\n%s", n, &b.stderr)
	}
}

func TestTTL(t *testing.T) {
	t.Parallel()
	p := launch(t, "-ttl", "100ms")
	p.get("/city/Tokyo").want(t, http.StatusOK)
	eventually(t, "it expires, though asked for", func() bool { return p.get("/city/Tokyo").answer(t).Source == "load" })
}

func TestFlags(t *testing.T) {
	for _, tt := range []struct {
		args   string
		status int
		text   string
	}{
		{"-h", 0, "usage: weather [flags]\n  -addr address\n"},
		{"-ttl 0", 2, "-ttl 0s: want 1ms or more"},
		{"-ttl soon", 2, "invalid value"},
		{"-slow -1s", 2, "-slow -1s"},
		{"-slow 5s", 2, "-slow 5s: want less than 5s"},
		{"-cheese", 2, "not defined"},
		{"brie", 2, `unexpected argument "brie"`},
		{"-addr 127.0.0.1:0:0", 1, "too many colons"},
		{"-db /", 1, "database"},
	} {
		cmd := exec.Command(binary, strings.Fields(tt.args)...)
		out, err := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != tt.status || !strings.Contains(string(out), tt.text) {
			t.Errorf("weather %s: exit status %d (%v), want %d; printed %q, want %q", tt.args, got, err, tt.status, out, tt.text)
		}
	}
	if opt, err := parse(nil, io.Discard); err != nil || opt.addr != "127.0.0.1:8080" {
		t.Errorf("by default: %+v, %v", opt, err)
	}
}

// TestReadme checks that the ten lines in README.md are in the program.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("server.go")
	if err != nil {
		t.Fatal(err)
	}
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	lines := regexp.MustCompile("(?m)^[0-9]+\\. `(.+)`$").FindAllStringSubmatch(string(readme), -1)
	if len(lines) != 10 {
		t.Errorf("%d lines, want 10", len(lines))
	}
	for _, m := range lines {
		if !strings.Contains(squeeze(string(source)), m[1]) {
			t.Errorf("not in server.go: %s", m[1])
		}
	}
}
