package compat

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// Transports, as the document names them.
const (
	polling   = "polling"
	websocket = "websocket"
	upgrade   = "polling, websocket"
)

// Timing of the servers whose URL is [Server.Brief].
const (
	BriefPingInterval   = "300ms"
	BriefPingTimeout    = "200ms"
	BriefUpgradeTimeout = "500ms"
	BriefConnectTimeout = "500ms"
)

// Server is one of the servers that are compared. It serves the events setUserId and
// getConnectionId of the contract and allows pages of [AllowedOrigin] only.
type Server struct {
	URL   string // with the contract's timing
	Brief string // of another instance, with the timing of the Brief constants
}

// AllowedOrigin is the one origin whose pages a [Server] allows.
const AllowedOrigin = "https://app.example"

// check is one behaviour of a server.
type check struct {
	behaviour string
	transport string
	// observe plays a client and returns what it has seen. It must not contain what
	// differs from run to run, such as session ids.
	observe func(c *client) string
	brief   bool   // the server is the one with brief timing
	note    string // why the bridge differs; empty when it does not
}

// section is the checks of one part of the protocol.
type section struct {
	title  string
	checks []check
}

// result is what a check has observed.
type result struct{ bridge, node string }

// run observes both servers, several checks at a time.
func (s section) run(t *testing.T, bridge, node Server) []result {
	t.Helper()
	results := make([]result, len(s.checks))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i, check := range s.checks {
		for server, seen := range map[*Server]*string{&bridge: &results[i].bridge, &node: &results[i].node} {
			url := server.URL
			if check.brief {
				url = server.Brief
			}
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				c := newClient(url)
				defer c.close()
				*seen = observation(c, check)
			})
		}
	}
	wg.Wait()
	return results
}

// observation runs a check. What a client cannot go on from is an observation too.
func observation(c *client, check check) (seen string) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case unexpected:
			seen = string(p)
		default:
			panic(p)
		}
	}()
	return check.observe(c)
}

// unexpected ends a check whose client has seen what it cannot go on from.
type unexpected string

func stop(format string, args ...any) { panic(unexpected(fmt.Sprintf(format, args...))) }

// cell makes a text fit a cell of a table.
func cell(text string) string {
	text = strings.NewReplacer("|", `\|`, "\n", " ", "\x1e", "␞").Replace(text)
	return text
}
