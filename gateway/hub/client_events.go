package hub

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/limit"
	"github.com/codewar/socketbridge/gateway/sio"
	"github.com/codewar/socketbridge/internal/ring"
)

// clientError is the `error` event: an error of the server itself for a client.
type clientError struct {
	Type    string         `json:"type"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"`
}

// HandlerConfig configures the authentication of clients.
type HandlerConfig struct {
	// Verifier checks the tokens of clients. Nil: clients need no token, and their tokens are
	// not read.
	Verifier *auth.Verifier
	Cookie   string // cookie that may carry a client's token; empty: none
	// WarnBefore is how long before its token expires a client is warned.
	WarnBefore time.Duration
	// ConnectsPerSecond is how often the clients of one user may connect to this node, and
	// ConnectBurst how often at once after a pause. 0: no limit. Needs a Verifier.
	ConnectsPerSecond, ConnectBurst int
}

// Handler answers the events of clients. It implements [sio.Handler]; calls for one socket come
// one at a time.
type Handler struct {
	hub      *Hub
	cfg      HandlerConfig
	auth     *auth.Metrics
	metrics  handlerMetrics
	expiries *expiries
	refusals *limit.RefusalCounter
	unknown  bridge.LogLimiter
	events   *ring.Ring[SocketEvent]
	mapped   atomic.Uint64 // sockets that were mapped
	connects *limit.Rates[bridge.UserID]
	log      *slog.Logger
}

// Limits of users, as they are counted.
const (
	limitPerUser     = "sockets_per_user" // Config.MaxPerUser
	limitLeft        = "left_sessions"    // Config.MaxLeft
	limitUserConnect = "user_connects"    // HandlerConfig.ConnectsPerSecond
)

// Limits names the limits of users.
func Limits() []string { return []string{limitPerUser, limitLeft, limitUserConnect} }

// NewHandler makes the handler of a hub's clients. It counts authentications in authMetrics and what
// [Limits] names in refusals.
func NewHandler(h *Hub, cfg HandlerConfig, authMetrics *auth.Metrics, refusals *limit.RefusalCounter, log *slog.Logger) *Handler {
	counts := newHandlerMetrics(h.cfg.Metrics)
	return &Handler{
		hub: h, cfg: cfg, auth: authMetrics, metrics: counts, refusals: refusals, log: log,
		expiries: &expiries{warnBefore: cfg.WarnBefore, ended: counts.expired},
		events:   ring.New[SocketEvent](eventsKept),
		connects: limit.NewRates[bridge.UserID](cfg.ConnectsPerSecond, cfg.ConnectBurst),
	}
}

// ServedBy tells the hub the server of its sockets, which flushes what the hub queues.
func (ev *Handler) ServedBy(s *sio.Server) { ev.hub.server.Store(s) }

// Close stops the warnings and the ends of expiring tokens.
func (ev *Handler) Close() { ev.expiries.close() }

// Connect maps a socket to the user of its token, or to the user of its restored session. Others
// wait for setUserId.
func (ev *Handler) Connect(c *sio.Socket) {
	s := &socket{conn: c, cursors: cursorFormOf(c.Auth(), c.RawQuery(), c.Header(), time.Now()), traces: asksForTrace(c), chosen: c.Auth().Session}
	if s.cursors != cursorArgument {
		c.IgnoresOffsets()
	}
	rec, _ := c.Data().(*recovered)
	s.who, _ = c.Data().(*identity)
	if rec != nil {
		s.who = rec.who
	}
	c.SetData(s)
	ev.metrics.join(c.Auth(), rec != nil)
	if s.who != nil {
		ev.expiries.set(s.who, s.who.expires)
	}
	ev.log.LogAttrs(c.Context(), slog.LevelDebug, "connected", slog.String("socket", c.ID()), slog.String("transport", c.Transport()), slog.Bool("recovered", rec != nil))
	switch {
	case rec != nil:
		_ = ev.bind(c, s, rec.user, &claim{after: rec.after}, nil, nil, actionResume) // bind answers
	case s.who != nil:
		_ = ev.bind(c, s, s.who.user, claimOf(presented(c.Auth()), s.who.user), nil, nil, "connect")
	default:
		s.claimed = presented(c.Auth())
	}
}

// actionResume is the action of a client whose session was restored.
const actionResume = "resume"

// bind maps the socket. It fails when the user has too many sockets, which it answers itself, and
// when the socket is gone.
func (ev *Handler) bind(c *sio.Socket, s *socket, user bridge.UserID, has *claim, away func(), ack func(...any), action string) error {
	ev.noteEnd(c, s, reasonMoved)
	ev.logUnmapped(c, s, "now another user's")
	if err := ev.hub.bind(c.Context(), s, user, has, away); err != nil {
		if errors.Is(err, errTooManySockets) {
			ev.refuseTooMany(c, ack, action)
		}
		return err
	}
	if ack == nil {
		ev.hub.Flush()
	} // else with the acknowledgement
	event := SocketConnected
	if action == actionResume {
		event = SocketResumed
	}
	ev.noteMapped(c, user, event)
	s.mapped = time.Now()
	ev.log.LogAttrs(c.Context(), slog.LevelInfo, "user_connected", slog.String("user", string(user)), slog.String("socket", c.ID()),
		slog.String("transport", c.Transport()), slog.String("by", action))
	return nil
}

// logUnmapped logs the end of a socket's mapping, if it has one.
func (ev *Handler) logUnmapped(c *sio.Socket, s *socket, reason string) {
	user := s.registration().User
	if user == "" || s.mapped.IsZero() {
		return
	}
	ev.log.LogAttrs(context.Background(), slog.LevelInfo, "user_disconnected", slog.String("user", string(user)), slog.String("socket", c.ID()),
		slog.String("reason", reason), slog.Duration("took", time.Since(s.mapped).Round(time.Millisecond)))
	s.mapped = time.Time{}
}

// Disconnect ends the mapping of that socket, and of no other.
func (ev *Handler) Disconnect(c *sio.Socket, reason string) {
	s, ok := c.Data().(*socket)
	if !ok {
		return
	}
	ev.logUnmapped(c, s, reason)
	ev.log.LogAttrs(context.Background(), slog.LevelDebug, "disconnected", slog.String("socket", c.ID()),
		slog.String("reason", reason), slog.Duration("took", time.Since(c.Since())))
	if s.who != nil {
		ev.expiries.drop(s.who)
	}
	ev.noteEnd(c, s, reason)
	user := s.registration().User
	ev.hub.unbind(s)
	if s.clientPID != "" && ev.hub.leaveSession(user, s.clientPID) {
		ev.refusals.Add(limitLeft, c.From())
	}
	switch {
	case finalReasons[reason]:
		ev.hub.dropSession(user, c.PID())
	case user != "" && c.PID() != "":
		if ev.hub.leaveSession(user, c.PID()) {
			ev.refusals.Add(limitLeft, c.From())
		}
	}
}

// finalReasons are the reasons after which a client does not come back with its session.
var finalReasons = map[string]bool{"client namespace disconnect": true, "server namespace disconnect": true}

// Event answers one client event.
func (ev *Handler) Event(c *sio.Socket, name string, args []json.RawMessage, ack func(args ...any)) {
	s, ok := c.Data().(*socket)
	if !ok {
		return
	}
	switch {
	case name == "setUserId":
		ev.setUserID(c, s, args, ack)
	case name == "getConnectionId":
		ev.connectionID(c, s, args, ack)
	case name == "refreshToken" && s.who != nil: // else there is no token to renew
		ev.refreshToken(c, s, args, ack)
	default:
		ev.refuseUnknown(c, name, ack)
	}
}

// refuseUnknown answers an event that the bridge does not have, so that a misspelt name is noticed.
// It logs one line in ten seconds at most: every client may send such events.
func (ev *Handler) refuseUnknown(c *sio.Socket, name string, ack func(...any)) {
	if times, due := ev.unknown.Due(time.Now()); due {
		ev.log.LogAttrs(c.Context(), slog.LevelWarn, "unknown event", slog.String("event", name), slog.String("socket", c.ID()),
			slog.Int("times", times), slog.Any("address", c.From()))
	}
	ev.refuse(c, ack, "The bridge has no event of this name", apierror.UnknownEvent, name)
}

// setUserID maps the socket to a user. Before the acknowledgement, the mapping is in the store and
// the missed messages are queued.
func (ev *Handler) setUserID(c *sio.Socket, s *socket, args []json.RawMessage, ack func(...any)) {
	const action = "setUserId"
	user, ok := ev.named(c, s, args, ack, action)
	if !ok {
		return
	}
	after, err := afterArgument(args)
	if err != nil {
		ev.refuse(c, ack, "after must be an offset as an answer, an acknowledgement or an event carries it", apierror.InvalidOffset, action)
		return
	}
	has := explicitClaim(after, user)
	if has == nil {
		has = claimOf(s.claimed, user)
	}
	s.claimed = nil
	answer := func() {
		if ack != nil {
			ack(map[string]any{"ok": true, "userId": user, "socketId": c.ID(), "offset": s.cursor()})
		}
	}
	if s.registration().User != user || ev.hub.beginsEarlier(s, explicitClaim(after, user)) {
		away := func() {
			_ = c.Emit("error", clientError{apierror.Unavailable, "The user cannot be registered yet; trying again", map[string]any{"action": action}})
		}
		if err := ev.bind(c, s, user, has, away, ack, action); err != nil {
			return
		}
		ev.hub.withConnectSlot(c.Context(), answer)
		return
	}
	answer()
}

// named is the user that a client names. It refuses the event, and ok is false, when the client
// names none or may not name that one.
func (ev *Handler) named(c *sio.Socket, s *socket, args []json.RawMessage, ack func(...any), action string) (user bridge.UserID, ok bool) {
	user, err := userArgument(args)
	if err != nil {
		ev.refuse(c, ack, err.Error(), bridge.CodeInvalidUserID, action)
		return "", false
	}
	return user, ev.checkUser(c, s, user, ack, action)
}

// refuseTooMany answers when the user has too many sockets. The socket stays open and unmapped.
func (ev *Handler) refuseTooMany(c *sio.Socket, ack func(...any), action string) {
	ev.refusals.Add(limitPerUser, c.From())
	ev.refuse(c, ack, "The user has too many sockets", apierror.TooManySockets, action)
}

// connectionID answers with the user's newest socket anywhere in the cluster, or null.
func (ev *Handler) connectionID(c *sio.Socket, s *socket, args []json.RawMessage, ack func(...any)) {
	const action = "getConnectionId"
	if len(args) == 0 || string(args[0]) == "null" { // of a client without a user yet, as in the Node service
		_ = c.Emit("connectionId", nil)
		if ack != nil {
			ack(nil)
		}
		return
	}
	user, ok := ev.named(c, s, args, ack, action)
	if !ok {
		return
	}
	sockets, err := ev.hub.locate(c.Context(), user)
	if err != nil {
		ev.log.LogAttrs(c.Context(), slog.LevelDebug, "user not located", slog.Any("err", err))
		ev.refuse(c, ack, "The user cannot be looked up now", apierror.Unavailable, action)
		return
	}
	var id any // null
	if len(sockets) > 0 {
		id = string(sockets[len(sockets)-1].Socket)
	}
	_ = c.Emit("connectionId", id) // a closed socket needs no answer
	s.resendCursor()
	ev.hub.Flush()
	if ack != nil {
		ack(id)
	}
}

// refuse answers an event that cannot be served: by an acknowledgement when the client wants one,
// else by an `error` event.
func (ev *Handler) refuse(c *sio.Socket, ack func(...any), message, code, action string) {
	details := map[string]any{"action": action, "socketId": c.ID()}
	if ack != nil {
		ack(apierror.New(message, code, details))
		return
	}
	_ = c.Emit("error", clientError{code, message, details})
}

// userArgument reads the first argument of an event.
func userArgument(args []json.RawMessage) (bridge.UserID, error) {
	if len(args) == 0 {
		return bridge.ParseUserID(nil)
	}
	return bridge.ParseUserID(args[0])
}

// afterArgument reads `{after: offset}`, the optional second argument of
// setUserId. The Node service took only one, so anything but an object is ignored.
func afterArgument(args []json.RawMessage) (*bridge.Cursor, error) {
	if len(args) < 2 || args[1][0] != '{' {
		return nil, nil
	}
	var options struct {
		After *bridge.Cursor `json:"after"`
	}
	if err := json.Unmarshal(args[1], &options); err != nil {
		return nil, err
	}
	return options.After, nil
}
