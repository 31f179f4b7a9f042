package main

import (
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
)

//go:embed picture.svg.tmpl
var svg string

var picture = template.Must(template.New("picture.svg.tmpl").Parse(svg))

// Places in the picture, beside those the template knows alone.
const (
	plotLeft, plotRight, plotHeight = 40, 920, 200
	lensLeft, lensRight, lensHeight = 220, 896, 128

	linePitch = 2   // more lines than fit are not drawn, but sampled
	shortest  = 1.5 // of a line, so that it can be seen
)

// draw writes the picture of a run: both halves on one time axis. Where that
// leaves a hairline of the second, a lens shows it again, on an axis of its own.
func draw(w io.Writer, r report) error {
	shared := axis{plotLeft, plotRight, max(r.Without.Wall, r.With.Wall)}
	data := struct {
		Callers, Shown, Window string
		Without, With          panel
		Lens                   *panel
		LensFrom, Times        string
		Shortest               float64
	}{
		Callers: count(r.Callers, "caller"),
		Without: shared.panel(r.Without, plotHeight),
		With:    shared.panel(r.With, plotHeight),

		Shortest: shortest,
	}
	if n := len(data.Without.Lines); n < r.Callers {
		data.Shown = strconv.Itoa(n) + " of " + humanize.Comma(int64(r.Callers)) + " shown, "
	}
	if r.window > 0 {
		data.Window = r.window.String()
	}
	if end := shared.x(r.With.Wall); end < lensLeft/2 {
		lens := axis{lensLeft, lensRight, r.With.Wall}
		p := lens.panel(r.With, lensHeight)
		data.Lens = &p
		data.LensFrom = num(end)
		data.Times = humanize.Comma(int64(lens.scale() / shared.scale()))
	}
	return picture.Execute(w, data)
}

// A panel is one half over a time axis. Numbers are strings, and short ones:
// there are many of them.
type panel struct {
	Queries, Wall, Median string
	Lines                 []line
	Ticks                 []tick
}

// A line is a caller, from its arrival to its answer.
type line struct {
	Y, From, To  string
	Began, Ended string // the database at work for it; empty if it came later
}

type tick struct{ X, Label string }

// An axis puts the times from 0 to span between two places.
type axis struct {
	left, right float64
	span        time.Duration
}

func (a axis) scale() float64            { return (a.right - a.left) / float64(a.span) }
func (a axis) x(t time.Duration) float64 { return a.left + a.scale()*float64(t) }

func (a axis) extent(from, to time.Duration) (string, string) {
	x := a.x(from)
	return num(x), num(max(a.x(to), x+shortest))
}

func (a axis) panel(h half, height int) panel {
	p := panel{
		Queries: count(int(h.Queries), "query"),
		Wall:    short(h.Wall).String(),
		Median:  short(h.Median).String(),
	}

	n := min(len(h.callers), height/linePitch)
	for i := range n {
		c := h.callers[i*(len(h.callers)-1)/max(1, n-1)]
		l := line{Y: num(float64(height) * (float64(i) + 0.5) / float64(n))}
		l.From, l.To = a.extent(c.arrived, c.answered)
		if began := max(c.began, c.arrived); began < c.ended {
			l.Began, l.Ended = a.extent(began, c.ended)
		}
		p.Lines = append(p.Lines, l)
	}

	// The steps are 1, 2, 5, 10, 20, 50 …
	step := time.Duration(1)
	for i := 0; a.span/step > 8; i++ {
		if i%3 == 1 {
			step = step / 2 * 5
		} else {
			step *= 2
		}
	}
	for t := time.Duration(0); t <= a.span; t += step {
		p.Ticks = append(p.Ticks, tick{num(a.x(t)), t.String()})
	}
	return p
}

// num is x to a tenth.
func num(x float64) string {
	return strconv.FormatFloat(math.Round(x*10)/10, 'f', -1, 64)
}

// A target is a file that appears under its name when it is complete, and not before.
type target struct {
	*os.File
	path string
}

func create(path string) (*target, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // the file is replaced, not the link
		if err := replaceable(path); err != nil {
			return nil, err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			pe.Path = path // the name that the user knows
		}
		return nil, err
	}
	return &target{f, path}, nil
}

// replaceable reports why what is at path had better stay: a rename would ask
// neither what it is nor whether it may be written to.
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

func (t *target) commit() error {
	if err := t.Chmod(0o644); err != nil {
		return err
	}
	if err := t.Close(); err != nil {
		return err
	}
	return os.Rename(t.Name(), t.path)
}

// discard does nothing after commit.
func (t *target) discard() {
	t.Close()
	os.Remove(t.Name())
}
