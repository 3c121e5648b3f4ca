package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/console"
	"github.com/codewar/socketbridge/gateway/limit"
	"github.com/codewar/socketbridge/gateway/sio"
)

// consolePath is the path of the console's sockets.
const consolePath = console.Path + "/socket.io/"

// consoleLimits are the limits of consoles, which are few.
var consoleLimits = sio.Config{
	MaxConnections: 64, MaxInbound: 16 << 10, MaxPending: 4 << 20, EventsPerMinute: 120,
	ConnectTimeout: 10 * time.Second, Memory: limit.MemoryConfig{Total: 16 << 20},
}

// serveConsole adds the console's page and its sockets. The guard of the operators' routes admits
// the requests of both.
func (sv *Service) serveConsole() {
	page := echo.WrapHandler(http.HandlerFunc(console.ServeHTTP))
	sv.deps.Server.OperatePage(console.Path, page)
	sv.deps.Server.OperatePage(console.Path+"/*", page)
	sv.sockets = sio.New(consoleLimits, (*pages)(sv), sv.log)
	sockets := echo.WrapHandler(sv.sockets)
	sv.deps.Server.Operate(http.MethodGet, consolePath, sockets)
	sv.deps.Server.Operate(http.MethodPost, consolePath, sockets)
}

// Close closes the sockets of consoles. It must be called before the server stops, which would wait
// for their polls.
func (sv *Service) Close(ctx context.Context) error { return sv.sockets.Close(ctx) }

// pages answers the console's sockets. It implements [sio.Handler].
type pages Service

// Admit accepts every client that the guard has admitted.
func (p *pages) Admit(context.Context, *sio.Socket) *sio.Refusal { return nil }

// Restore restores no session: a console that reconnects sends its filter again.
func (p *pages) Restore(context.Context, *sio.Socket, string, string) (sio.Restored, bool) {
	return sio.Restored{}, false
}

// Connect begins to send samples.
func (p *pages) Connect(s *sio.Socket) {
	s.IgnoresOffsets()
	p.deps.Feed.consoles.add(s)
}

// Disconnect ends the samples.
func (p *pages) Disconnect(s *sio.Socket, _ string) { p.deps.Feed.consoles.remove(s) }

// maxFilter bounds each text of a filter, in bytes.
const maxFilter = 512

// Event takes the filter of a console: `tail` with a filter, or with null.
func (p *pages) Event(s *sio.Socket, name string, args []json.RawMessage, ack func(...any)) {
	if name != "tail" {
		return
	}
	var wanted *filter
	if len(args) > 0 {
		if err := json.Unmarshal(args[0], &wanted); err != nil {
			wanted = nil
		}
	}
	if wanted != nil && (len(wanted.User) > maxFilter || len(wanted.Topic) > maxFilter || len(wanted.Outcome) > maxFilter) {
		wanted = nil
	}
	p.deps.Feed.consoles.watch(s, wanted)
	p.deps.Feed.renew((*Service)(p)) // the first rows need not wait for the next round
	if ack != nil {
		ack(map[string]any{"ok": true, "watching": wanted != nil})
	}
}

// samplesEvent is sent to each console every second.
type samplesEvent struct {
	At      time.Time        `json:"at"`
	Nodes   []map[string]any `json:"nodes"`
	Missing []bridge.NodeID  `json:"missing"`
}

// sample sends every console the newest sample of every node.
func (sv *Service) sample(ctx context.Context) {
	pages := sv.deps.Feed.consoles.all()
	if len(pages) == 0 {
		return
	}
	answers, missing := gather[map[string]any](ctx, sv, querySample, nil)
	e := samplesEvent{At: moment(time.Now()), Nodes: []map[string]any{}, Missing: missing}
	for _, id := range ids(answers) {
		answers[id]["id"] = id
		e.Nodes = append(e.Nodes, answers[id])
	}
	for _, page := range pages {
		_ = page.Emit("sample", e) // a page that has left needs none
	}
}
