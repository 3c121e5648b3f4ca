package clients

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// document is the section of docs/compatibility.md that the matrix writes.
func document(rows []*row) string {
	var b strings.Builder
	for i, s := range steps {
		fmt.Fprintf(&b, "%d. %s\n", i+1, s.about)
	}
	b.WriteString("\n| client | websocket | polling | upgrade | Node service loses in |\n|---|---|---|---|---|\n")
	for len(rows) > 0 {
		name := rows[0].client.name
		end := slices.IndexFunc(rows, func(r *row) bool { return r.client.name != name })
		if end < 0 {
			end = len(rows)
		}
		b.WriteString(line(rows[:end]))
		rows = rows[end:]
	}
	return b.String()
}

// line is that of one client, on all of its transports.
func line(rows []*row) string {
	cells := map[string]string{"websocket": "–", "polling": "–", "upgrade": "–"}
	node := make(map[string][]string) // transports, by the steps in which something was lost
	for _, r := range rows {
		var sum account
		for _, s := range r.bridge {
			sum = sum.add(s.account)
		}
		cells[r.client.transport] = fmt.Sprintf("%d of %d", sum.owed-sum.lost, sum.owed)
		if wrong := sum.String(); wrong != "" {
			cells[r.client.transport] += ", " + wrong
		}
		if r.client.unsteady {
			continue
		}
		in := losing(r.node)
		node[in] = append(node[in], r.client.transport)
	}
	var loses []string
	for in, transports := range node {
		if len(node) > 1 {
			in += " (" + strings.Join(transports, ", ") + ")"
		}
		loses = append(loses, in)
	}
	slices.Sort(loses)
	return fmt.Sprintf("| %s | %s | %s | %s | %s |\n", rows[0].client.name, cells["websocket"], cells["polling"], cells["upgrade"], strings.Join(loses, "; "))
}

// losing lists the numbers of the steps in which messages were lost.
func losing(results []result) string {
	var numbers []string
	for i, s := range steps {
		at := slices.IndexFunc(results, func(r result) bool { return r.step == s.name })
		if at < 0 || results[at].account.lost > 0 {
			numbers = append(numbers, strconv.Itoa(i+1))
		}
	}
	return strings.Join(numbers, " ")
}
