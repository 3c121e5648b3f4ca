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

// consolePath is where the console's own sockets are.
const consolePath = console.Path + "/socket.io/"

// consoleLimits are for pages of operators, who are few.
var consoleLimits = sio.Config{
	MaxConnections: 64, MaxInbound: 16 << 10, MaxPending: 4 << 20, EventsPerMinute: 120,
	ConnectTimeout: 10 * time.Second, Memory: limit.MemoryConfig{Total: 16 << 20},
}

// serveConsole adds the console's page and its sockets. Every request of either is
// let in by the guard of the operators' routes.
func (sv *Service) serveConsole() {
	page := echo.WrapHandler(http.HandlerFunc(console.ServeHTTP))
	sv.deps.Server.OperatePage(console.Path, page)
	sv.deps.Server.OperatePage(console.Path+"/*", page)
	sv.sockets = sio.New(consoleLimits, (*pages)(sv), sv.log)
	sockets := echo.WrapHandler(sv.sockets)
	sv.deps.Server.Operate(http.MethodGet, consolePath, sockets)
	sv.deps.Server.Operate(http.MethodPost, consolePath, sockets)
}

// Close ends the sockets of consoles. It comes before the server's end, which
// would wait for their polls.
func (sv *Service) Close(ctx context.Context) error { return sv.sockets.Close(ctx) }

// pages answers the console's sockets. It implements [sio.Handler].
type pages Service

// Admit lets everybody in whom the guard has let in.
func (p *pages) Admit(context.Context, *sio.Socket) *sio.Refusal { return nil }

// Restore knows of no earlier sockets: a page that comes back says again what it watches.
func (p *pages) Restore(context.Context, *sio.Socket, string, string) (sio.Restored, bool) {
	return sio.Restored{}, false
}

// Connect begins to send samples.
func (p *pages) Connect(s *sio.Socket) {
	s.IgnoresOffsets()
	p.deps.Feed.consoles.add(s)
}

// Disconnect ends what the page was sent.
func (p *pages) Disconnect(s *sio.Socket, _ string) { p.deps.Feed.consoles.remove(s) }

// maxFilter bounds each text of a filter, in bytes.
const maxFilter = 512

// Event takes what the page wants to see: `tail` with a filter, or with null.
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

// samplesEvent is what each page is sent every second.
type samplesEvent struct {
	At      time.Time        `json:"at"`
	Nodes   []map[string]any `json:"nodes"`
	Missing []bridge.NodeID  `json:"missing"`
}

// sample sends every page the newest sample of every node.
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
