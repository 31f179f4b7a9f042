// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	_ "embed"
	"html/template"
	"io"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"

	"example.com/singleflight/examples/internal/draw"
)

//go:embed picture.svg.tmpl
var svg string

var picture = template.Must(template.New("picture.svg.tmpl").Parse(svg))

// Coordinates in the picture that the template does not hold itself.
const (
	plotLeft, plotRight, plotHeight = 40, 920, 200
	lensLeft, lensRight, lensHeight = 220, 896, 128

	linePitch = 2   // if there are more lines than fit, a sample is drawn
	shortest  = 1.5 // length of a line that can still be seen
)

// render writes the picture of a run: both halves on one time axis. If the
// second half is too narrow there, it is drawn again in a lens, on its own axis.
func render(w io.Writer, r report) error {
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
		data.LensFrom = draw.Num(end)
		data.Times = humanize.Comma(int64(lens.scale() / shared.scale()))
	}
	return picture.Execute(w, data)
}

// A panel is one half over a time axis. The numbers are short strings, because
// the picture has many of them.
type panel struct {
	Queries, Wall, Median string
	Lines                 []line
	Ticks                 []tick
}

// A line is a caller, from its arrival to its answer.
type line struct {
	Y, From, To  string
	Began, Ended string // of its query; empty if the caller arrived after it
}

type tick struct{ X, Label string }

// An axis maps the times from 0 to span to the coordinates from left to right.
type axis struct {
	left, right float64
	span        time.Duration
}

func (a axis) scale() float64            { return (a.right - a.left) / float64(a.span) }
func (a axis) x(t time.Duration) float64 { return a.left + a.scale()*float64(t) }

func (a axis) extent(from, to time.Duration) (string, string) {
	x := a.x(from)
	return draw.Num(x), draw.Num(max(a.x(to), x+shortest))
}

func (a axis) panel(h half, height int) panel {
	p := panel{
		Queries: count(int(h.Queries), "query"),
		Wall:    draw.Short(h.Wall).String(),
		Median:  draw.Short(h.Median).String(),
	}

	n := min(len(h.callers), height/linePitch)
	for i := range n {
		c := h.callers[i*(len(h.callers)-1)/max(1, n-1)]
		l := line{Y: draw.Num(float64(height) * (float64(i) + 0.5) / float64(n))}
		l.From, l.To = a.extent(c.arrived, c.answered)
		if began := max(c.began, c.arrived); began < c.ended {
			l.Began, l.Ended = a.extent(began, c.ended)
		}
		p.Lines = append(p.Lines, l)
	}

	for _, t := range draw.Ticks(a.span, 8) {
		p.Ticks = append(p.Ticks, tick{draw.Num(a.x(t)), t.String()})
	}
	return p
}
