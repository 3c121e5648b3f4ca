package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

func newJSONEncoder(w io.Writer) *json.Encoder {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e
}

// printTable prints rows of cells under columns that are separated by tabs. Empty cells are dashes.
func printTable(w io.Writer, columns string, rows int, row func(i int) []any) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, columns)
	for i := range rows {
		var cells []string
		for _, c := range row(i) {
			cells = append(cells, cmp.Or(printable(fmt.Sprint(c)), "-"))
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// count returns a number with its noun.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// age returns a duration rounded down to one unit.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	switch d = max(0, d); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/day)
	}
}

// printable returns s, quoted if it contains line breaks or control characters, which could control
// the terminal: publishers and clients choose these texts.
func printable(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// isText reports whether s consists of lines of printable text.
func isText(s string) bool {
	lines := strings.NewReplacer("\r\n", "", "\n", "", "\t", "").Replace(s)
	return printable(lines) == lines
}
