package hub

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/codewar/socketbridge/gateway/sio"
)

// cursorForm is how a client is given its cursor.
type cursorForm int

const (
	// noCursor: the client has declined, or its library does not keep cursors.
	noCursor cursorForm = iota
	// cursorEvent: in an event [offsetEvent] behind what was flushed together. Libraries
	// that keep the last text of any event keep it; handlers of topics do not see it.
	cursorEvent
	// cursorArgument: as the last argument of each event.
	cursorArgument
)

// cursorFormOf decides which form a client is given. `auth: {resume: true}` asks for the
// argument and `{resume: false}` declines. Unasked, the argument goes only to clients that
// give evidence of the JavaScript library, which calls handlers with fewer parameters all
// the same. A handler in Dart would get a list in place of the payload, and one in Python
// would raise. Other clients that may keep a cursor are given events.
//
// As the libraries' sources have it (socket.io-client 3.0 to 4.8 with engine.io-client 4.0
// to 6.6; socket_io_client for Dart; socket.io-client-java; socket.io-client-swift;
// python-engineio):
//
//   - JavaScript and Dart make the query in the order of EIO, transport, sid, t, b64, after
//     the application's own. Java's order is that of a HashMap: b64, t, EIO, transport, sid.
//     Swift and Python write transport before EIO.
//   - t, with each poll, is in JavaScript the time in base 64 up to 4.6 (7 characters), and
//     then 5 digits of the time in base 36 and 3 random ones. In Dart it is all 8 digits of
//     the time in base 36.
//   - On websocket t is missing. In a browser, JavaScript and Dart make the same request:
//     such clients give no evidence. In Node the ws package makes it, without a User-Agent.
//   - The private id (pid) in CONNECT is no evidence: newer versions for Dart send it as well.
func cursorFormOf(auth sio.Auth, rawQuery string, h http.Header, now time.Time) cursorForm {
	switch {
	case auth.Resume != nil && *auth.Resume:
		return cursorArgument
	case auth.Resume != nil || !keepsCursors(rawQuery) && auth.PID == "":
		return noCursor
	case isJavaScript(rawQuery, h, now):
		return cursorArgument
	}
	return cursorEvent
}

// keepsCursors reports whether the query has the order of the libraries that keep the
// last text of an event.
func keepsCursors(rawQuery string) bool { return strings.Contains(rawQuery, "EIO=4&transport=") }

var (
	pollingQuery   = regexp.MustCompile(`(?:^|&)EIO=4&transport=polling&t=([0-9A-Za-z_-]{5,8})(?:\.[0-9A-Za-z_-]+)?(?:&b64=1)?$`)
	websocketQuery = regexp.MustCompile(`(?:^|&)EIO=4&transport=websocket$`)
)

// nodeExtensions is the offer of the ws package. A browser's is the same, but a browser
// has a User-Agent.
const nodeExtensions = "permessage-deflate; client_max_window_bits"

func isJavaScript(rawQuery string, h http.Header, now time.Time) bool {
	agent := h.Get("User-Agent")
	if strings.HasPrefix(agent, "Dart/") || strings.HasPrefix(agent, "okhttp/") {
		return false
	}
	if m := pollingQuery.FindStringSubmatch(rawQuery); m != nil {
		return !isDartTime(m[1], now)
	}
	return agent == "" && websocketQuery.MatchString(rawQuery) && h.Get("Sec-WebSocket-Extensions") == nodeExtensions
}

// isDartTime reports whether t is the time in milliseconds, in base 36, of a clock that is
// right to a day. Of JavaScript's texts one in 16,000 looks like that; its client is
// given events then.
func isDartTime(t string, now time.Time) bool {
	ms, err := strconv.ParseInt(t, 36, 64)
	return err == nil && t == strings.ToLower(t) && now.Sub(time.UnixMilli(ms)).Abs() < 24*time.Hour
}

// pendingCursors are the sockets whose clients are sent their cursors in events with the next
// [Hub.Flush].
type pendingCursors struct {
	mu      sync.Mutex // guards sockets; taken with a socket's lock held, no other is taken inside
	sockets []*socket
}

func (p *pendingCursors) add(s *socket) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sockets = append(p.sockets, s)
}

// send sends them, each once however much its socket was given.
func (p *pendingCursors) send() {
	p.mu.Lock()
	sockets := p.sockets
	p.sockets = nil
	p.mu.Unlock()
	for _, s := range sockets {
		s.sendPendingCursor()
	}
}

// queueCursor has the client's cursor sent with the next flush, if the client is given events. With
// s.mu held.
func (s *socket) queueCursor() {
	if s.cursors == cursorEvent && !s.cursorQueued && s.pending != nil {
		s.cursorQueued = true
		s.pending.add(s)
	}
}

func (s *socket) sendPendingCursor() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cursorQueued && s.user != "" {
		s.sendCursor(s.last)
	}
	s.cursorQueued = false
}

// resendCursor sends the cursor to a client that is given events, because its library has taken the
// last string of another event for it.
func (s *socket) resendCursor() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cursors == cursorEvent && s.user != "" {
		s.sendCursor(s.last)
	}
}
