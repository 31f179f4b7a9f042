// Copyright 2026 The singleflight Authors. All rights reserved.
// Use of this source code is governed by a BSD-style
// license that can be found in the LICENSE file.

package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"

	"example.com/singleflight/examples/internal/draw"
)

//go:embed picture.svg.tmpl
var svg string

var picture = template.Must(template.New("picture.svg.tmpl").Parse(svg))

// Coordinates in the picture; the template has more.
const (
	plotLeft, plotRight = 190, 920
	top, laneHeight     = 112, 60

	narrowest = 2 // the least width of a bar, so that it can be seen
)

// A lane shows a process. A bar is nil if the process did not do that.
type lane struct {
	Y                  int
	Number             int
	Note               string
	Wait, Work, Answer *bar
	Killed             string // x coordinate
}

type bar struct{ X, Width string }

type tick struct{ X, Label string }

// render writes a picture of the run.
func render(w io.Writer, r report) error {
	end := r.Killed
	for _, p := range r.Each {
		end = max(end, p.last)
	}
	scale := (plotRight - plotLeft) / float64(max(end, 1))
	x := func(t time.Duration) float64 { return plotLeft + scale*float64(t) }
	between := func(from, to time.Duration) *bar {
		width := max(narrowest, x(to)-x(from))
		return &bar{draw.Num(min(x(from), plotRight-width)), draw.Num(width)}
	}

	plot := laneHeight * len(r.Each)
	data := struct {
		Callers, Loads     string
		Height, Plot, Foot int
		Card               string
		Right              int
		Lanes              []lane
		Ticks              []tick
		Kill               *struct {
			Process, Next int
			After         time.Duration
		}
	}{
		Callers: count(r.Callers, "caller"),
		Loads:   count(r.Loads, "load"),
		Height:  top + plot + 44,
		Card:    draw.Num(float64(top+plot+44) - 1),
		Plot:    plot,
		Foot:    top + plot + 20,
		Right:   plotRight,
	}
	for i, p := range r.Each {
		l := lane{Y: top + i*laneHeight, Number: i + 1}
		if p.load != nil {
			l.Work = between(p.load.began, p.load.ended)
		}
		if p.Killed {
			l.Note = "killed"
			l.Killed = draw.Num(x(r.Killed))
			l.Wait = between(0, r.Killed)
		} else {
			l.Note = fmt.Sprintf("slowest %v", draw.Short(p.Slowest))
			l.Wait = between(p.came, p.last)
			l.Answer = between(p.first, p.last)
		}
		data.Lanes = append(data.Lanes, l)
	}
	if r.victim >= 0 {
		data.Kill = &struct {
			Process, Next int
			After         time.Duration
		}{r.victim + 1, r.heir + 1, draw.Short(r.pause())}
	}
	for _, t := range draw.Ticks(end, 8) {
		data.Ticks = append(data.Ticks, tick{draw.Num(x(t)), t.String()})
	}
	return picture.Execute(w, data)
}

// count returns n and the noun, such as "1,000 callers".
func count(n int, thing string) string {
	return humanize.Comma(int64(n)) + " " + english.PluralWord(n, thing, "")
}
