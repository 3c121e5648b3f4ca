package gateway

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/limit"
	"github.com/codewar/socketbridge/gateway/sio"
)

// Config is what clients see, in figures.
type Config struct {
	Sockets           sio.Config
	Origins           Origins
	MaxBody           int64         // bytes of a /sendPayload body
	ReplyTimeout      time.Duration // how long a /sendPayload caller waits for the receipt
	ReadHeaderTimeout time.Duration
	ReadTimeout       time.Duration // for a request's headers and body
	IdleTimeout       time.Duration // between two requests of a connection
	MaxHeader         int           // bytes of a request's headers
	TrustedProxies    []netip.Prefix
	Connections       ConnectionLimits
	PayloadsPerSecond int // calls of /sendPayload by one caller; 0: no limit
	PayloadBurst      int // of them after a pause
	// PayloadBytesPerSecond and PayloadBytesBurst bound the bytes of their bodies
	// likewise. BodyBytes bounds those of all callers that are in memory at a time.
	PayloadBytesPerSecond, PayloadBytesBurst int
	BodyBytes                                int64
	OpsOnOwnListener                         bool // the operators' routes are not on the public one
	Profiles                                 bool // /debug/pprof among them, on a listener of their own only
	// Development serves the operators' routes on the public listener to this machine
	// when there are neither keys nor a listener of their own. Without it they are then
	// served nowhere.
	Development bool
	Auth        AuthConfig
	// Unproven reports whether a node may have sockets that the store does not know of: then the
	// leader decides whether a user without sockets in the store is offline. Nil: no node has.
	Unproven func() bool
	// Records answers /messages/<offset>. Nil: nothing is recorded.
	Records interface {
		Record(ctx context.Context, at bridge.Offset) (bridge.DeliveryRecord, error)
	}
	// TryIt answers / and what is below /tryit/, where a newcomer looks first. Nil: nothing is there.
	TryIt http.Handler
}

// spare is how much later than its headers a request's body may be whole so that the
// time for it does not end before the time for the reply.
func (c Config) spare() time.Duration {
	if c.ReadTimeout <= 0 {
		return math.MaxInt64
	}
	return c.ReadTimeout - cmp.Or(c.ReadHeaderTimeout, c.ReadTimeout) - c.ReplyTimeout - c.ReplyTimeout/64
}

// errOrigin is the text of a refused handshake.
var errOrigin = errors.New("origin not allowed")

// socketPath is where every Socket.IO client looks by default.
const socketPath = "/socket.io/"

// Server is everything on the network: the Socket.IO endpoint, /sendPayload and
// the operators' routes.
type Server struct {
	http     *http.Server
	ops      *http.Server
	sio      *sio.Server
	events   *events
	conns    connections
	refusals *limit.RefusalCounter
	client   limit.AddrFunc
	payloads *payloads
	health   *health
	public   *echo.Echo
	inside   *echo.Echo // the operators' routes
	guard    *operators
	guarded  map[string]struct{} // paths of the operators' routes; read-only once serving
	answered statuses
	log      *slog.Logger
}

// NewServer wires the routes. Checks say what keeps the node from being ready.
func NewServer(cfg Config, hub *Hub, store locator, ask AskFunc, checks []Check, metrics *prometheus.Registry, log *slog.Logger) *Server {
	log = log.With("component", "gateway")
	refusals, client := limit.NewRefusalCounter(log, requestLimits...), clientAddr(cfg.TrustedProxies)
	pages := pages{cfg.Origins, cfg.TrustedProxies}
	cfg.Sockets.AllowOrigin = cfg.Origins.Allow
	cfg.Sockets.AllowRequest = func(r *http.Request) error {
		if !pages.allow(r) {
			return errOrigin
		}
		return nil
	}
	cfg.Sockets.ClientAddr, cfg.Sockets.Overloaded = client, hub.Overloaded
	ev := &events{hub: hub, auth: cfg.Auth, verdicts: newVerdicts(cfg.Auth, log), expiries: &expiries{warnBefore: cfg.Auth.WarnBefore}, refusals: refusals, journal: newJournal(), log: log,
		connects: limit.NewRates[bridge.UserID](cfg.Auth.ConnectsPerSecond, cfg.Auth.ConnectBurst)}
	pace := newPace(cfg, client, refusals)
	s := &Server{
		sio:      sio.New(cfg.Sockets, ev, log),
		events:   ev,
		conns:    connections{limits: cfg.Connections, proxies: cfg.TrustedProxies, reached: func(name string, from netip.Addr) { refusals.Add(name, from) }},
		refusals: refusals,
		client:   client,
		payloads: &payloads{
			here: hub.Has, unproven: cfg.Unproven, store: store, ask: ask, begin: hub.cfg.Begin, missed: ev.journal.missedBy,
			timeout: cfg.ReplyTimeout, maxBody: cfg.MaxBody, wait: patience{limit: cfg.ReplyTimeout}, spare: cfg.spare(),
			bodies: bodyBytes{most: cfg.BodyBytes, largest: cfg.MaxBody, small: smallBody}, pace: pace,
		},
		health:   &health{checks: checks},
		guarded:  make(map[string]struct{}),
		answered: newStatuses(),
		log:      log,
	}
	hub.server.Store(s.sio)
	public := s.newEcho(cfg)
	public.Match([]string{http.MethodPost, http.MethodGet}, sendPath, chain(s.payloads.handle,
		s.answered.count, (&publishers{cfg.Auth, pages, ev.verdicts, pace}).only, slowEndless(cfg.Sockets.InboundRate), middleware.BodyLimit(bytesText(cfg.MaxBody))))
	public.GET("/openapi.json", document(callersContract))
	public.Match([]string{http.MethodGet, http.MethodHead}, socketPath+":file", serveClientFile)
	if cfg.TryIt != nil {
		read := []string{http.MethodGet, http.MethodHead}
		public.Match(read, "/", echo.WrapHandler(cfg.TryIt))
		public.Match(read, "/tryit/*", echo.WrapHandler(cfg.TryIt))
	}
	s.public, s.inside, s.guard = public, public, &operators{cfg.Auth.OpsKeys, !cfg.OpsOnOwnListener, ev.verdicts}
	if cfg.OpsOnOwnListener || len(cfg.Auth.OpsKeys) == 0 && !cfg.Development {
		s.inside = s.newEcho(cfg)
		s.health.routes(s.inside, s.guard.admits)
		s.health.routes(public, func(*http.Request) bool { return false })
	} else {
		s.health.routes(public, s.guard.admits)
	}
	if cfg.OpsOnOwnListener && cfg.Profiles {
		s.profiles()
	}
	s.Operate(http.MethodGet, "/metrics", metricsHandler(metrics))
	s.Operate(http.MethodGet, "/messages/:offset", (&messageRecords{cfg}).handle)
	s.Operate(http.MethodPost, "/api/v1/send", s.payloads.send, middleware.BodyLimit(bytesText(cfg.MaxBody)))
	s.Operate(http.MethodGet, "/api/v1/openapi.json", document(operatorsContract))
	s.http = s.newHTTP(s.socketsFirst(public), cfg)
	s.ops = s.newHTTP(s.inside, cfg)
	return s
}

// sendPath is the route of callers.
const sendPath = "/sendPayload"

// isSendPath reports whether Express would take a path for [sendPath]: it ignores case
// and one slash at the end, and does not decode the path.
func isSendPath(u *url.URL) bool {
	path := strings.TrimSuffix(u.Path, "/")
	return len(path) == len(sendPath) && strings.EqualFold(path, sendPath) && u.RawPath == ""
}

// socketsFirst serves the Socket.IO endpoint itself, which needs nothing of what
// the routes share and is asked by thousands at a time, and leaves the rest to them.
func (s *Server) socketsFirst(routes http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == socketPath {
			s.sio.ServeHTTP(w, r)
			return
		}
		if r.URL.Path != sendPath && isSendPath(r.URL) {
			r.URL.Path = sendPath
		}
		routes.ServeHTTP(w, r)
	})
}

// Operate adds a route for operators only. It may be called until Serve.
func (s *Server) Operate(method, path string, h echo.HandlerFunc, more ...echo.MiddlewareFunc) {
	s.guarded[path] = struct{}{}
	s.inside.Add(method, path, h, append([]echo.MiddlewareFunc{s.guard.only}, more...)...)
}

// OperatePage adds a route for operators' browsers: one without a key is made to
// ask for it. It may be called until Serve.
func (s *Server) OperatePage(path string, h echo.HandlerFunc) {
	s.guarded[path] = struct{}{}
	s.inside.GET(path, h, s.guard.page)
}

// Routes lists the routes of callers and those of operators, so that the contracts
// can be held against them. They are the same list without a listener for operators.
// The Socket.IO endpoint is not among them: see socketsFirst.
func (s *Server) Routes() (callers, operators []*echo.Route) {
	return s.public.Routes(), s.inside.Routes()
}

// Reasons says what keeps the node from being ready, nothing when it is, and what it serves without.
func (s *Server) Reasons(ctx context.Context) (reasons, degraded map[string]string) {
	return s.health.reasons(ctx)
}

// newEcho makes a router whose every error has the one format.
func (s *Server) newEcho(cfg Config) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = s.handleError
	routed := func(c echo.Context) error { return c.Handler()(c) }
	around := chain(routed, nameRequest, s.recover, cfg.Origins.middleware(s.guarded))
	e.Use(func(echo.HandlerFunc) echo.HandlerFunc { return around }) // what it is given is the route's handler
	return e
}

// chain puts middleware around a handler, the first outermost. Echo, were the middleware
// given to it, would do so anew for each request.
func chain(h echo.HandlerFunc, around ...echo.MiddlewareFunc) echo.HandlerFunc {
	for _, m := range slices.Backward(around) {
		h = m(h)
	}
	return h
}

func (s *Server) newHTTP(h http.Handler, cfg Config) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: cfg.ReadHeaderTimeout,
		ReadTimeout:       cfg.ReadTimeout, // a poll that hangs takes it back
		WriteTimeout:      cfg.ReadTimeout + cfg.ReplyTimeout + answerTime,
		IdleTimeout:       cfg.IdleTimeout,
		MaxHeaderBytes:    cfg.MaxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		ConnState:         connState,
		ConnContext:       limit.WithConn,
	}
}

// Serve serves clients until Shutdown; it then returns nil. With a certificate the
// connections are encrypted.
func (s *Server) Serve(l net.Listener, cert *Certificate) error {
	l = s.conns.bound(l) // before TLS, whose handshakes count too
	if cert != nil {
		l = cert.Over(l)
	}
	return serve(s.http, s.sio.WebsocketListener(l, socketPath, cmp.Or(s.http.ReadHeaderTimeout, s.http.ReadTimeout)))
}

// ServeOps serves the operators' routes on a listener of their own until Shutdown.
func (s *Server) ServeOps(l net.Listener, cert *Certificate) error {
	l = s.conns.boundOperators(l)
	if cert != nil {
		l = cert.Over(l)
	}
	return serve(s.ops, l)
}

func serve(srv *http.Server, l net.Listener) error {
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Stats counts connections and why they were dropped or refused.
func (s *Server) Stats() sio.Stats { return s.sio.Stats() }

// Hold refuses sockets and calls until SetReady: nothing may be taken under a node id that
// another process may have.
func (s *Server) Hold() {
	s.payloads.hold(true)
	s.sio.Pause()
}

// SetReady opens the node for traffic, as far as its checks allow.
func (s *Server) SetReady() {
	s.payloads.hold(false)
	s.sio.Resume()
	s.health.serving.Store(true)
}

// Unready makes /readyz answer 503 and waits for grace, so that a balancer sees
// it before anything is closed.
func (s *Server) Unready(ctx context.Context, grace time.Duration) error {
	s.health.serving.Store(false)
	select {
	case <-time.After(grace):
	case <-ctx.Done():
	}
	return nil
}

// DrainPayloads refuses new /sendPayload calls and waits until those in hand have
// their answer. It comes before the intake stops, which the answers need.
func (s *Server) DrainPayloads(ctx context.Context) error { return s.payloads.drain(ctx) }

// Shutdown lets every socket go, in waves spread over that long so that the
// browsers, which reconnect at once, do not all arrive elsewhere in the same
// moment; then it stops serving. Both go on side by side: a held poll would keep
// the HTTP server waiting.
func (s *Server) Shutdown(ctx context.Context, over time.Duration) error {
	closed := make(chan error, 1)
	go func() {
		s.sio.Drain(ctx, over)
		closed <- s.sio.Close(ctx)
	}()
	err := s.http.Shutdown(ctx)
	s.events.expiries.close()
	return errors.Join(err, <-closed, s.ops.Shutdown(ctx))
}

// recover turns a handler's panic into a 500 that its caller can read.
func (s *Server) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisablePrintStack: true,
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			s.log.LogAttrs(c.Request().Context(), slog.LevelError, "handler panicked", slog.Any("err", err), slog.String("stack", string(stack)))
			return err
		},
	})(next)
}

// swallow reads some of a body that nobody wants, for a moment: a client that is
// still writing when the connection is closed sees a reset and not the answer. Of a
// body that does not say where it ends it reads less: that may be an attack.
func swallow(c echo.Context) {
	const moment, perSecond = 2 * time.Second, 4 << 20
	bytes := int64(8 << 20)
	if c.Request().ContentLength < 0 {
		bytes = 1 << 20
	}
	_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(moment)) // without one, the server's own holds
	_, _ = io.CopyN(io.Discard, limit.Paced(c.Request().Body, perSecond), bytes)         // its end or its error: both will do
}

// slowEndless reads bodies that do not say where they end at a pace of so many bytes
// a second. Others are refused before they are read when they are too large.
func slowEndless(perSecond int) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if r := c.Request(); r.ContentLength < 0 {
				r.Body = struct {
					io.Reader
					io.Closer
				}{limit.Paced(r.Body, perSecond), r.Body}
			}
			return next(c)
		}
	}
}

// handleError answers what no handler has answered.
func (s *Server) handleError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, code, message := http.StatusInternalServerError, codeInternal, "Internal error"
	if he, ok := errors.AsType[*echo.HTTPError](err); ok {
		status = he.Code
	} else if _, large := errors.AsType[*http.MaxBytesError](err); large {
		status = http.StatusRequestEntityTooLarge
	} else if errors.Is(err, os.ErrDeadlineExceeded) {
		status = http.StatusRequestTimeout
	} else if cutOff(err) || c.Request().Context().Err() != nil {
		status = http.StatusBadRequest
	}
	switch status {
	case http.StatusNotFound:
		code, message = codeNotFound, "No such route"
	case http.StatusMethodNotAllowed:
		code, message = codeMethod, "Method not allowed"
	case http.StatusRequestEntityTooLarge:
		code, message = codeTooLarge, "Body is too large"
		swallow(c)
	case http.StatusRequestTimeout:
		code, message = codeSlowRequest, "The body did not come in time"
		s.refusals.Add(limitReadTime, s.client(c.Request()))
	case http.StatusInternalServerError:
		s.log.LogAttrs(c.Request().Context(), slog.LevelError, "request failed", slog.String("route", c.Path()), slog.Any("err", err))
	default:
		code, message = codeInvalidRequest, http.StatusText(status)
	}
	if err := refused(c, "", status, code, message); err != nil {
		s.log.LogAttrs(c.Request().Context(), slog.LevelDebug, "answer not written", slog.Any("err", err))
	}
}
