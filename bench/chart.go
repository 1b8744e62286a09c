package main

import (
	"cmp"
	"fmt"
	"image/color"
	"io"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// drawn are the numbers of callers that have a line each in the chart: who asks
// alone, and a crowd that shares its commits.
var drawn = []int{1, 16}

// chart draws what a check costs as the open conversations grow, as SVG.
func chart(w io.Writer, rows []scaled) error {
	p := plot.New()
	p.Title.Text = "CPU of a check (an answered webhook with a wrong PIN)"
	p.X.Label.Text, p.Y.Label.Text = "open conversations", "µs"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.TickerFunc(powersOfTen)
	p.Y.Min = 0
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	for i, l := range chartLines(rows) {
		line, points, err := plotter.NewLinePoints(l.at)
		if err != nil {
			return err
		}
		// Okabe and Ito's colours, which everybody can tell apart; the shape
		// tells what the colour does.
		line.Color = []color.Color{color.RGBA{0, 114, 178, 255}, color.RGBA{86, 180, 233, 255},
			color.RGBA{213, 94, 0, 255}, color.RGBA{230, 159, 0, 255}}[i%4]
		line.Width = vg.Points(1.5)
		points.Color = line.Color
		points.Shape = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.SquareGlyph{}, draw.PyramidGlyph{}, draw.BoxGlyph{}}[i%4]
		p.Add(line, points)
		p.Legend.Add(l.name, line, points)
	}
	p.Y.Max *= 1.3 // room for the legend
	canvas := vgsvg.New(18*vg.Centimeter, 10*vg.Centimeter)
	p.Draw(draw.New(canvas))
	_, err := canvas.WriteTo(w)
	return err
}

// powersOfTen are marked on an axis, in words.
func powersOfTen(from, to float64) []plot.Tick {
	var ticks []plot.Tick
	for _, t := range []plot.Tick{{Value: 1e4, Label: "10 thousand"}, {Value: 1e5, Label: "100 thousand"}, {Value: 1e6, Label: "a million"}, {Value: 1e7, Label: "10 million"}} {
		if from <= t.Value && t.Value <= to {
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// A chartLine is one store under so many callers, as it grows.
type chartLine struct {
	name string
	at   plotter.XYs
}

func chartLines(rows []scaled) []chartLine {
	var all []chartLine
	for _, r := range rows {
		if r.serves > 1 || !slices.Contains(drawn, r.callers) {
			continue
		}
		name := fmt.Sprintf("%s, %d at once", r.store, r.callers)
		i := slices.IndexFunc(all, func(l chartLine) bool { return l.name == name })
		if i < 0 {
			i, all = len(all), append(all, chartLine{name: name})
		}
		at := plotter.XY{X: float64(r.open), Y: float64(r.round.perVisit().Nanoseconds()) / 1000}
		all[i].at = append(all[i].at, at)
		slices.SortFunc(all[i].at, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
	}
	return all
}
