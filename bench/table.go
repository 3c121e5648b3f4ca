package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// table compares servers, in Markdown: a line for each, and one of the ratios.
type table struct {
	labels  []string // heads of the columns that say what was measured
	heads   []string // of figures; those in parentheses are not compared
	formats []string // of figures, one for each head
	lines   [][]string
}

// figures of one server, in the order of the table's heads. Nil: not measured.
type figures []*float64

// add adds the lines of one measurement. A server that could not be measured has none.
func (t *table) add(labels []string, of map[string]figures) {
	line := func(server string, cells []string) {
		t.lines = append(t.lines, slices.Concat(labels, []string{server}, cells))
	}
	for _, server := range []string{bridge, peer, leastServer} {
		if f := of[server]; f != nil {
			line(server, f.cells(t.formats))
		}
	}
	if ours, other := of[bridge], of[peer]; ours != nil && other != nil {
		line(bridge+" : "+peer, ours.ratios(other, t.heads))
	}
}

func (f figures) cells(formats []string) []string {
	cells := make([]string, len(f))
	for i, v := range f {
		if v != nil {
			cells[i] = fmt.Sprintf(formats[i], *v)
		}
	}
	return cells
}

func (f figures) ratios(other figures, heads []string) []string {
	cells := make([]string, len(f))
	for i := range f {
		compared := !strings.HasPrefix(heads[i], "(")
		if compared && f[i] != nil && other[i] != nil && *other[i] != 0 {
			cells[i] = fmt.Sprintf("%.2f ×", *f[i] / *other[i])
		}
	}
	return cells
}

func (t *table) write(w io.Writer) {
	if len(t.lines) == 0 {
		return
	}
	head := slices.Concat(t.labels, []string{"server"}, t.heads)
	rule := slices.Repeat([]string{"---:"}, len(head))
	for i := range len(t.labels) + 1 {
		rule[i] = "---"
	}
	fmt.Fprintln(w)
	for _, line := range slices.Concat([][]string{head, rule}, t.lines) {
		fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
	}
}

func millis(d time.Duration) *float64 { return new(float64(d) / float64(time.Millisecond)) }

// The columns of a histogram.
var (
	latencyHeads   = []string{"p50 ms", "p99 ms", "p99.9 ms", "max ms"}
	latencyFormats = []string{"%.2f", "%.2f", "%.2f", "%.1f"}
)

func latencyFigures(l latencies) figures {
	return figures{millis(l.at(50)), millis(l.at(99)), millis(l.at(99.9)), millis(l.max())}
}
