package handlers

import (
	"cmp"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/countersign/countersign/flow"
)

// What the diagram counts: what happened to the orders of a day, and no more
// events than are read in a moment.
const (
	stepsOf    = 24 * time.Hour
	stepsDepth = 100_000
)

// flow draws the conversation, with how often each arrow was taken of late.
func (o *Ops) flow(w http.ResponseWriter, r *http.Request) error {
	steps, err := o.Ledger.Steps(r.Context(), o.Now().Add(-stepsOf), stepsDepth)
	if err != nil {
		return err
	}
	census, err := o.Ledger.Census(r.Context(), o.Now())
	if err != nil {
		return err
	}
	p := opsPage{Title: "Flow", Census: census, Drawing: draw(flow.Confirmation, steps)}
	if every, err := strconv.Atoi(r.URL.Query().Get("every")); err == nil && every >= 5 && every <= 3600 {
		p.Every = every
	}
	o.render(w, r, http.StatusOK, "flow.html", p)
	return nil
}

// A drawing is a state diagram with counts, ready for SVG.
type drawing struct {
	Boxes  []box
	Arrows []arrow
	Steps  []flow.Step // most first
	Cut    bool        // there were more events than were counted
}

// Weights are those that arrows are drawn with: each has a head of its own.
func (*drawing) Weights() []int { return []int{0, 1, 2, 3, 4} }

// A box is where a state is drawn; X and Y are its middle.
type box struct {
	State flow.State
	X, Y  float64
	W, H  float64
	Final bool
}

// Left and Top are its corner.
func (b box) Left() float64 { return b.X - b.W/2 }

// Top is its upper edge.
func (b box) Top() float64 { return b.Y - b.H/2 }

// places are where the states are drawn: what is open on the left, from top to
// bottom what is hoped for to what is not.
var places = map[flow.State]box{
	flow.New:         {X: 60, Y: 60},
	flow.Asked:       {X: 260, Y: 60},
	flow.Locked:      {X: 390, Y: 205},
	flow.Unreachable: {X: 260, Y: 440},
	flow.Confirmed:   {X: 800, Y: 60},
	flow.Declined:    {X: 800, Y: 250},
	flow.Lapsed:      {X: 800, Y: 440},
}

const boxWidth, boxHeight = 130, 44

// An arrow is drawn along Path; N stands at X and Y.
type arrow struct {
	Path   string
	X, Y   float64
	N      int
	Weight int    // from 0, never taken, to 4
	Tells  string // which way it goes, and how often by which event
}

// draw lays out m with the counts of steps.
func draw(m flow.Machine, steps []flow.Step) *drawing {
	d := &drawing{Steps: slices.Clone(steps)}
	slices.SortFunc(d.Steps, func(a, b flow.Step) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.From, b.From), cmp.Compare(a.Event, b.Event))
	})
	total := 0
	for _, s := range steps {
		total += s.N
	}
	d.Cut = total >= stepsDepth
	for _, s := range append([]flow.State{flow.New}, flow.States...) {
		b := at(s)
		b.Final = s != flow.New && !s.Open()
		d.Boxes = append(d.Boxes, b)
	}
	for _, a := range m.Arrows() {
		n, by := 0, []string{}
		for _, ev := range a.Events {
			of := 0
			for _, s := range steps {
				if s.From == a.From && s.To == a.To && s.Event == ev {
					of += s.N
				}
			}
			n += of
			by = append(by, fmt.Sprintf("%s %d", ev, of))
		}
		line := curve(at(a.From), at(a.To))
		x, y := line.at(0.5)
		d.Arrows = append(d.Arrows, arrow{
			Path: line.String(), X: x, Y: y, N: n, Weight: weight(n),
			Tells: fmt.Sprintf("%s → %s: %s", a.From, a.To, strings.Join(by, ", ")),
		})
	}
	// What is taken is drawn over what is not.
	slices.SortStableFunc(d.Arrows, func(a, b arrow) int { return cmp.Compare(a.Weight, b.Weight) })
	return d
}

// weight is how heavily an arrow is drawn that was taken n times.
func weight(n int) int {
	if n == 0 {
		return 0
	}
	return min(4, 1+int(math.Log10(float64(n))))
}

func at(s flow.State) box {
	b := places[s]
	b.State, b.W, b.H = s, boxWidth, boxHeight
	if s == flow.New {
		b.W, b.H = 60, 32
	}
	return b
}

// A bezier is a cubic one.
type bezier [4][2]float64

// curve goes from one box to another, bent to its left, so that two that go
// back and forth do not meet; or round a box's corner, back to itself.
func curve(from, to box) bezier {
	if from.State == to.State {
		x, y := from.X-from.W/2, from.Y+from.H/2
		if from.Y < 100 {
			y = from.Y - from.H/2
			return bezier{{x + 40, y}, {x + 40, y - 42}, {x + 90, y - 42}, {x + 90, y}}
		}
		return bezier{{x + 40, y}, {x + 40, y + 42}, {x + 90, y + 42}, {x + 90, y}}
	}
	dx, dy := to.X-from.X, to.Y-from.Y
	length := math.Hypot(dx, dy)
	const bend = 0.12
	nx, ny := dy/length, -dx/length // to the left of the way
	mx, my := (from.X+to.X)/2+nx*length*bend, (from.Y+to.Y)/2+ny*length*bend
	whole := bezier{
		{from.X, from.Y},
		{from.X + (mx-from.X)*2/3, from.Y + (my-from.Y)*2/3},
		{to.X + (mx-to.X)*2/3, to.Y + (my-to.Y)*2/3},
		{to.X, to.Y},
	}
	begin, end := 0.0, 1.0
	for inside(from, whole, begin) && begin < 1 {
		begin += 0.005
	}
	for inside(to, whole, end) && end > 0 {
		end -= 0.005
	}
	return whole.part(begin, end)
}

func inside(b box, c bezier, t float64) bool {
	x, y := c.at(t)
	const air = 3
	return math.Abs(x-b.X) < b.W/2+air && math.Abs(y-b.Y) < b.H/2+air
}

// at is the point of c at t, from 0 to 1.
func (c bezier) at(t float64) (x, y float64) { return c.blossom(t, t, t) }

// part is the piece of c from one point to another.
func (c bezier) part(from, to float64) bezier {
	var p bezier
	for i, t := range [4][3]float64{{from, from, from}, {from, from, to}, {from, to, to}, {to, to, to}} {
		p[i][0], p[i][1] = c.blossom(t[0], t[1], t[2])
	}
	return p
}

// blossom is de Casteljau's algorithm with a parameter of its own at each step.
func (c bezier) blossom(t ...float64) (x, y float64) {
	for _, t := range t {
		for i := range 3 {
			for axis := range 2 {
				c[i][axis] += (c[i+1][axis] - c[i][axis]) * t
			}
		}
	}
	return c[0][0], c[0][1]
}

// String is c as the d of an SVG path.
func (c bezier) String() string {
	return fmt.Sprintf("M%.1f %.1fC%.1f %.1f %.1f %.1f %.1f %.1f",
		c[0][0], c[0][1], c[1][0], c[1][1], c[2][0], c[2][1], c[3][0], c[3][1])
}
