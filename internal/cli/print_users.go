package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"
)

func printUsers(w io.Writer, a usersJSON, now time.Time) error {
	table := newTable(w, "USER", "SOCKETS", "SINCE", "NODES")
	for _, u := range a.Users {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\n", printable(u.UserID), u.Sockets, age(now.Sub(u.Since)), names(u.Nodes))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	text := fmt.Sprintf("\n%s connected", count(a.Total, "user"))
	if a.Truncated {
		text += fmt.Sprintf(", %d listed (--limit, --prefix)", len(a.Users))
	}
	fmt.Fprintln(w, text)
	return printAbsent(w, a.Missing, nil)
}

// printUser puts the answer first, then what it rests on.
func printUser(w io.Writer, a userJSON, now time.Time) error {
	fmt.Fprintf(w, "%s: %s (%s)\n", printable(a.UserID), printable(strings.TrimSuffix(a.Verdict.Text, ".")), printable(a.Verdict.Code))
	if err := printAbsent(w, a.Missing, a.Partial); err != nil {
		return err
	}
	if len(a.Sockets) > 0 {
		fmt.Fprintln(w)
		table := newTable(w, "SOCKET", "NODE", "SINCE", "TRANSPORT", "LAST OFFSET", "QUEUED")
		for _, s := range a.Sockets {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d B\n", printable(s.SocketID), printable(s.Node), age(now.Sub(s.Since)), printable(s.Transport), offsetText(s.LastOffset), s.QueuedBytes)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if len(a.Events) > 0 {
		fmt.Fprintln(w)
		table := newTable(w, "AGO", "EVENT", "SOCKET", "NODE", "AFTER", "REASON")
		for _, e := range a.Events {
			after := "-"
			if e.DurationMs > 0 {
				after = age(time.Duration(e.DurationMs * float64(time.Millisecond)))
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", age(now.Sub(e.At)), printable(e.Event), printable(e.SocketID), printable(e.Node), after, cmp.Or(printable(e.Reason), "-"))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if len(a.Messages) > 0 {
		fmt.Fprintln(w)
		table := newTable(w, "AGO", "OFFSET", "TOPIC", "OUTCOME", "SOCKETS", "VERDICT")
		for _, m := range a.Messages {
			ago := "-"
			if m.At != nil {
				ago = age(now.Sub(*m.At))
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", ago, printable(m.Offset), printable(m.Topic), cmp.Or(printable(m.Outcome), "-"), m.Sockets, printable(m.Verdict.Code))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if len(a.Missed) > 0 {
		fmt.Fprintln(w)
		table := newTable(w, "AGO", "ANSWERED 404, TOPIC", "NODE")
		for _, m := range a.Missed {
			fmt.Fprintf(table, "%s\t%s\t%s\n", age(now.Sub(m.At)), printable(m.Topic), printable(m.Node))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	if len(a.Dead) > 0 {
		fmt.Fprintln(w)
		table := newTable(w, "AGO", "DEAD LETTER", "CODE", "SUBJECT", "REASON")
		for _, d := range a.Dead {
			fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\n", age(now.Sub(d.At)), d.Seq, printable(d.Code), printable(d.Subject), printable(d.Reason))
		}
		return table.Flush()
	}
	return nil
}

// printAbsent tells what the answer lacks.
func printAbsent(w io.Writer, nodes, why []string) error {
	if len(nodes) > 0 {
		if _, err := fmt.Fprintf(w, "not asked, because they did not answer: %s\n", names(nodes)); err != nil {
			return err
		}
	}
	for _, text := range why {
		if _, err := fmt.Fprintf(w, "incomplete: %s\n", printable(text)); err != nil {
			return err
		}
	}
	return nil
}

// names lists nodes.
func names(nodes []string) string {
	for i := range nodes {
		nodes[i] = printable(nodes[i])
	}
	return strings.Join(nodes, " ")
}

// offsetText is an offset, or a dash for none.
func offsetText(s string) string {
	if s == "" || s == "0-0" {
		return "-"
	}
	return printable(s)
}
