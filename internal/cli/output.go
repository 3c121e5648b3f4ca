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

// count is a number and what is counted.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// age is rounded down to what fits a narrow column.
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

// printable is s, in quotes when it holds what would not stand on one line or
// would steer the terminal: whoever may publish wrote it.
func printable(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	return strconv.Quote(s)
}

// isText reports whether s is lines of printable text.
func isText(s string) bool {
	lines := strings.NewReplacer("\r\n", "", "\n", "", "\t", "").Replace(s)
	return printable(lines) == lines
}
