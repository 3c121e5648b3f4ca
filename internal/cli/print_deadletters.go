package cli

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber"
)

// deadJSON is a letter as --json prints it.
type deadJSON struct {
	Sequence  uint64              `json:"sequence"`
	Timestamp time.Time           `json:"timestamp"`
	Code      string              `json:"code"`
	Reason    string              `json:"reason"`
	Subject   string              `json:"subject"`
	Offset    bridge.Offset       `json:"offset"`
	Size      int                 `json:"size"`
	Cut       bool                `json:"cut,omitempty"` // body is only the beginning
	Header    map[string][]string `json:"header,omitempty"`
	// Only for show. BodyBase64 is used if the body is not printable text.
	Body       *string `json:"body,omitempty"`
	BodyBase64 []byte  `json:"bodyBase64,omitempty"`
}

func newDeadJSON(l subscriber.DeadLetter) deadJSON {
	return deadJSON{
		Sequence: l.Seq, Timestamp: l.At.UTC(), Code: l.Code, Reason: l.Reason, Subject: l.Subject,
		Offset: l.Offset, Size: l.Size, Cut: l.Cut, Header: l.Header,
	}
}

// deadDoneJSON is what was done to a letter, as --json prints it.
type deadDoneJSON struct {
	Sequence   uint64 `json:"sequence"`
	Done       string `json:"done,omitempty"` // replayed, purged, would be replayed, would be purged
	ReplayedAs uint64 `json:"replayedAs,omitempty"`
	Error      string `json:"error,omitempty"` // in its place
}

// deadPrinter prints what is done to letters.
type deadPrinter struct {
	out, errs io.Writer
	json      *json.Encoder // nil: for people
	done      string
}

func newDeadPrinter(cmd *cobra.Command, done string, asJSON bool) *deadPrinter {
	p := &deadPrinter{out: cmd.OutOrStdout(), errs: cmd.ErrOrStderr(), done: done}
	if asJSON {
		p.json = newJSONEncoder(p.out)
	}
	return p
}

func (p *deadPrinter) worked(seq uint64, d did) {
	switch {
	case p.json != nil:
		_ = p.json.Encode(deadDoneJSON{Sequence: seq, Done: p.done, ReplayedAs: d.as}) // fails only when stdout is closed
	case d.text != "":
		fmt.Fprintf(p.out, "%d %s\n", seq, d.text)
	}
}

func (p *deadPrinter) failed(seq uint64, why error) {
	if p.json != nil {
		_ = p.json.Encode(deadDoneJSON{Sequence: seq, Error: why.Error()})
		return
	}
	fmt.Fprintf(p.errs, "%d %v\n", seq, why)
}

func (p *deadPrinter) total(worked int) {
	if p.json == nil {
		fmt.Fprintf(p.out, "%s: %d\n", p.done, worked)
	}
}

// listDead prints the newest letters up to the limit, and the number of letters of each reason. It
// keeps at most limit letters in memory.
func listDead(w io.Writer, letters iter.Seq2[subscriber.DeadLetter, error], limit int, asJSON bool) error {
	encoder := newJSONEncoder(w)
	put := func(l subscriber.DeadLetter) error {
		if asJSON {
			return encoder.Encode(newDeadJSON(l))
		}
		return printRow(w, l)
	}
	if !asJSON {
		fmt.Fprintf(w, rowFormat, "SEQUENCE", "AGE", "REASON", "OFFSET", "SIZE", "SUBJECT")
	}
	var newest []subscriber.DeadLetter
	total := make(map[string]int)
	for l, err := range letters {
		if err != nil {
			return err
		}
		total[l.Code]++
		if limit == 0 {
			if err := put(l); err != nil {
				return err
			}
			continue
		}
		if len(newest) == limit {
			newest = newest[1:]
		}
		newest = append(newest, l)
	}
	for _, l := range newest {
		if err := put(l); err != nil {
			return err
		}
	}
	if asJSON {
		return nil
	}
	return printTotal(w, total, len(newest), limit)
}

// rowFormat has fixed widths, so that a row can be printed before the following ones are read. The
// column with the most varied width is last.
const rowFormat = "%9s %5s  %-16s %-24s %8s  %s\n"

func printRow(w io.Writer, l subscriber.DeadLetter) error {
	_, err := fmt.Fprintf(w, rowFormat, strconv.FormatUint(l.Seq, 10), age(time.Since(l.At)),
		printable(l.Code), l.Offset, strconv.Itoa(l.Size), printable(l.Subject))
	return err
}

func printTotal(w io.Writer, total map[string]int, listed, limit int) error {
	fmt.Fprintln(w)
	all := 0
	for _, code := range slices.Sorted(maps.Keys(total)) {
		fmt.Fprintf(w, "%-16s %d\n", printable(code), total[code])
		all += total[code]
	}
	note := ""
	if limit > 0 && all > listed {
		note = fmt.Sprintf(", the newest %d listed (--limit)", listed)
	}
	_, err := fmt.Fprintf(w, "%-16s %d%s\n", "total", all, note)
	return err
}

// showDead prints one letter with its headers and body.
func showDead(w io.Writer, l subscriber.DeadLetter, asJSON bool) error {
	if asJSON {
		j := newDeadJSON(l)
		if text := string(l.Body); isText(text) {
			j.Body = &text
		} else {
			j.BodyBase64 = l.Body
		}
		return newJSONEncoder(w).Encode(j)
	}
	field := func(name, value string) { fmt.Fprintf(w, "%-9s %s\n", name, value) }
	field("sequence", strconv.FormatUint(l.Seq, 10))
	field("stored", fmt.Sprintf("%s, %s ago", l.At.UTC().Format(time.RFC3339), age(time.Since(l.At))))
	field("reason", printable(l.Code)+": "+printable(l.Reason))
	field("subject", printable(l.Subject))
	field("offset", l.Offset.String())
	size := strconv.Itoa(l.Size) + " bytes"
	if l.Cut {
		size += fmt.Sprintf(", cut to %d; the stream has the whole message until it ages out", len(l.Body))
	}
	field("size", size)
	for _, name := range slices.Sorted(maps.Keys(l.Header)) {
		for _, value := range l.Header[name] {
			field("header", printable(name)+": "+printable(value))
		}
	}
	text := string(l.Body)
	if !isText(text) {
		text = hex.Dump(l.Body)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", cmp.Or(strings.TrimSuffix(text, "\n"), "(no body)"))
	return err
}
