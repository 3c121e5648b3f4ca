package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/admin"
)

func printUsers(w io.Writer, a admin.UsersReport, now time.Time) error {
	err := printTable(w, "USER\tSOCKETS\tSINCE\tNODES", len(a.Users), func(i int) []any {
		u := a.Users[i]
		return []any{u.User, u.Sockets, age(now.Sub(u.Since)), names(u.Nodes)}
	})
	if err != nil {
		return err
	}
	text := fmt.Sprintf("\n%s connected", count(a.Total, "user"))
	if a.Truncated {
		text += fmt.Sprintf(", %d listed (--limit, --prefix)", len(a.Users))
	}
	fmt.Fprintln(w, text)
	return printAbsent(w, a.Missing, nil)
}

// printUser prints the verdict, and then the facts that it rests on.
func printUser(w io.Writer, a admin.UserReport, now time.Time) error {
	fmt.Fprintf(w, "%s: %s (%s)\n", printable(string(a.User)), printable(strings.TrimSuffix(a.Verdict.Text, ".")), printable(string(a.Verdict.Code)))
	if err := printAbsent(w, a.Missing, a.Partial); err != nil {
		return err
	}
	ago := func(t time.Time) string { return age(now.Sub(t)) }
	for _, section := range []struct {
		columns string
		rows    int
		row     func(i int) []any
	}{
		{"SOCKET\tNODE\tSINCE\tTRANSPORT\tLAST OFFSET\tQUEUED", len(a.Sockets), func(i int) []any {
			s := a.Sockets[i]
			return []any{s.Socket, s.Node, ago(s.Since), s.Transport, offsetText(s.Given), fmt.Sprintf("%d B", s.Queued)}
		}},
		{"AGO\tEVENT\tSOCKET\tNODE\tAFTER\tREASON", len(a.Events), func(i int) []any {
			e, after := a.Events[i], ""
			if e.Took > 0 {
				after = age(time.Duration(e.Took * float64(time.Millisecond)))
			}
			return []any{ago(e.At), e.Event, e.Socket, e.Node, after, e.Reason}
		}},
		{"AGO\tOFFSET\tTOPIC\tOUTCOME\tSOCKETS\tVERDICT", len(a.Messages), func(i int) []any {
			m, at := a.Messages[i], ""
			if m.At != nil {
				at = ago(*m.At)
			}
			return []any{at, m.Offset, m.Topic, m.Outcome, m.Sockets, m.Verdict.Code}
		}},
		{"AGO\tANSWERED 404, TOPIC\tNODE", len(a.Missed), func(i int) []any {
			m := a.Missed[i]
			return []any{ago(m.At), m.Topic, m.Node}
		}},
		{"AGO\tDEAD LETTER\tCODE\tSUBJECT\tREASON", len(a.Dead), func(i int) []any {
			d := a.Dead[i]
			return []any{ago(d.At), d.Seq, d.Code, d.Subject, d.Reason}
		}},
	} {
		if section.rows == 0 {
			continue
		}
		fmt.Fprintln(w)
		if err := printTable(w, section.columns, section.rows, section.row); err != nil {
			return err
		}
	}
	return nil
}

// printAbsent tells what the answer lacks.
func printAbsent(w io.Writer, nodes []bridge.NodeID, why []string) error {
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
func names(nodes []bridge.NodeID) string {
	texts := make([]string, len(nodes))
	for i, n := range nodes {
		texts[i] = printable(string(n))
	}
	return strings.Join(texts, " ")
}

// offsetText is empty for no offset.
func offsetText(o bridge.Offset) string {
	if o == (bridge.Offset{}) {
		return ""
	}
	return o.String()
}
