package main

import (
	"bytes"
	"fmt"
	"time"
)

// Measures of a curve, in pixels.
const (
	curveWidth  = 860
	curveLeft   = 56
	curveRight  = 16
	panelHeight = 120
	panelGap    = 48
	panelTop    = 64
)

// line is one row of values of a panel.
type line struct {
	name, colour string
	value        func(frame) float64
}

// panel is one diagram of a picture.
type panel struct {
	title string
	least float64 // the scale's upper end is at least this
	lines []line
}

// draw makes an SVG picture of a film.
func draw(title string, pages int, frames []frame, marks []mark) []byte {
	seconds := func(f func(frame) time.Duration) func(frame) float64 {
		return func(fr frame) float64 { return f(fr).Seconds() }
	}
	panels := []panel{
		{"pages connected", float64(pages), []line{{"", "#2563eb", func(f frame) float64 { return float64(f.connected) }}}},
		{"reconnects a second", 10, []line{{"", "#7c3aed", func(f frame) float64 { return f.reconnects }}}},
		{"seconds since a page's last message", 1, []line{
			{"longest", "#dc2626", seconds(func(f frame) time.Duration { return f.most })},
			{"99th of 100", "#ea8a00", seconds(func(f frame) time.Duration { return f.p99 })},
			{"half of the pages", "#16a34a", seconds(func(f frame) time.Duration { return f.p50 })},
		}},
	}
	from, to := frames[0].at, frames[len(frames)-1].at
	x := func(at time.Duration) float64 {
		return curveLeft + float64(at-from)/float64(to-from)*(curveWidth-curveLeft-curveRight)
	}
	height := panelTop + len(panels)*(panelHeight+panelGap)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">`+"\n", curveWidth, height)
	fmt.Fprintf(&b, `<title>Two bridges restarted, %s</title><rect width="100%%" height="100%%" fill="#fff"/>`+"\n", title)
	bottom := height - panelGap
	for i, m := range marks {
		at := x(m.at.Sub(marks[0].at))
		fmt.Fprintf(&b, `<path d="M%.1f 46V%d" stroke="#64748b" stroke-dasharray="3 3"/><text x="%.1f" y="%d" text-anchor="middle" fill="#475569">%s</text>`+"\n",
			at, bottom, at, 18+i%3*12, m.name)
	}
	for i, p := range panels {
		p.draw(&b, float64(panelTop+i*(panelHeight+panelGap)), frames, x)
	}
	for s := int(from.Seconds()) / 5 * 5; s <= int(to.Seconds()); s += 5 {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#475569">%d s</text>`+"\n", x(time.Duration(s)*time.Second), bottom+18, s)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func (p panel) draw(b *bytes.Buffer, top float64, frames []frame, x func(time.Duration) float64) {
	most := p.least
	for _, l := range p.lines {
		for _, f := range frames {
			most = max(most, l.value(f))
		}
	}
	y := func(v float64) float64 { return top + panelHeight*(1-v/most) }
	fmt.Fprintf(b, `<text x="%d" y="%.1f" font-weight="600" fill="#0f172a">%s</text>`+"\n", curveLeft, top-8, p.title)
	for _, v := range []float64{0, most / 2, most} {
		fmt.Fprintf(b, `<path d="M%d %.1fH%d" stroke="#e2e8f0"/><text x="%d" y="%.1f" text-anchor="end" fill="#475569">%.3g</text>`+"\n",
			curveLeft, y(v), curveWidth-curveRight, curveLeft-8, y(v)+4, v)
	}
	for i, l := range p.lines {
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, l.colour)
		for _, f := range frames {
			fmt.Fprintf(b, "%.1f,%.1f ", x(f.at), y(l.value(f)))
		}
		b.WriteString(`"/>` + "\n")
		if l.name != "" {
			fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end" fill="%s">%s</text>`+"\n", curveWidth-curveRight-i*130, top-8, l.colour, l.name)
		}
	}
}
