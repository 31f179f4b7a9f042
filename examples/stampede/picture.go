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

// Places in the picture, beside those the template knows alone.
const (
	plotLeft, plotRight, plotHeight = 40, 920, 200
	lensLeft, lensRight, lensHeight = 220, 896, 128

	linePitch = 2   // more lines than fit are not drawn, but sampled
	shortest  = 1.5 // of a line, so that it can be seen
)

// render writes the picture of a run: both halves on one time axis. Where that
// leaves a hairline of the second, a lens shows it again, on an axis of its own.
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
