package compat

import (
	"fmt"
	"strings"
	"testing"
)

// protocol is every check, in the document's order.
var protocol = []section{handshake, pollingSection, heartbeat, closing, upgrading, namespaces, events}

// Protocol runs every check against both servers and returns the section of the document.
// It fails for a difference without a reason and for a reason without a difference.
func Protocol(t *testing.T, bridge, node Server) string {
	t.Helper()
	var out, same strings.Builder
	equal, all := 0, 0
	for _, s := range protocol {
		fmt.Fprintf(&same, "### %s\n\n| behaviour | transport | bridge | socket.io 4.8 | note |\n|---|---|---|---|---|\n", s.title)
		for i, r := range s.run(t, bridge, node) {
			c := s.checks[i]
			all++
			node := cell(r.node)
			switch {
			case r.bridge == r.node:
				equal++
				node = "the same"
				if c.note != "" {
					t.Errorf("%s: %s, %s: no difference, but a reason: %s", s.title, c.behaviour, c.transport, c.note)
				}
			case c.note == "":
				t.Errorf("%s: %s, %s: a difference without a reason:\nbridge    %s\nsocket.io %s", s.title, c.behaviour, c.transport, r.bridge, r.node)
			}
			fmt.Fprintf(&same, "| %s | %s | %s | %s | %s |\n", c.behaviour, c.transport, cell(r.bridge), node, c.note)
		}
		same.WriteString("\n")
	}
	fmt.Fprintf(&out, "%d of %d observations are the same.\n\n", equal, all)
	return out.String() + same.String()
}
