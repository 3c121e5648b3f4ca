package gateway

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/gateway/limit"
	"github.com/codewar/socketbridge/gateway/publish"
	"github.com/codewar/socketbridge/gateway/sio"
)

// Config configures a [Server].
type Config struct {
	Sockets           sio.Config
	Origins           Origins
	ReadHeaderTimeout time.Duration
	ReadTimeout       time.Duration // for a request's headers and body
	IdleTimeout       time.Duration // between two requests of a connection
	MaxHeader         int           // bytes of a request's headers
	TrustedProxies    []netip.Prefix
	Connections       ConnectionLimits
	// Publish configures /sendPayload. The server sets its fields that concern the server, the
	// hub and authentication.
	Publish          publish.Config
	OpsOnOwnListener bool // the operators' routes have a listener of their own
	Profiles         bool // /debug/pprof among them, on a listener of their own only
	// Development serves the operators' routes on the public listener to this machine when there
	// are neither keys nor a listener of their own. Without it they are then not served.
	Development bool
	Auth        AuthConfig
	// Records answers /messages/<offset>. Nil: nothing is recorded.
	Records interface {
		Record(ctx context.Context, at bridge.Offset) (bridge.DeliveryRecord, error)
	}
	// TryIt serves / and the routes below /tryit/. Nil: there are no such routes.
	TryIt http.Handler
}

// AuthConfig configures authentication.
type AuthConfig struct {
	// Verifier checks the tokens of clients and callers. Nil: clients need no token, and tokens
	// are not read.
	Verifier   *auth.Verifier
	Cookie     string        // cookie that may carry a client's token; empty: none
	WarnBefore time.Duration // how long before its token expires a client is warned
	// ConnectsPerSecond is how often the clients of one user may connect to this node, and
	// ConnectBurst how often at once after a pause. 0: no limit. Needs a Verifier.
	ConnectsPerSecond, ConnectBurst int
	PublishScope                    string        // scope that a caller's token must have
	APIKeys                         []auth.APIKey // of callers; with neither these nor a Verifier everybody may call
	OpsKeys                         []auth.APIKey // of operators
}

// errOrigin is the text of a refused handshake.
var errOrigin = errors.New("origin not allowed")

// socketPath is the default path of every Socket.IO client.
const socketPath = "/socket.io/"

// Server serves the Socket.IO endpoint, /sendPayload and the operators' routes.
type Server struct {
	http     *http.Server
	ops      *http.Server
	sio      *sio.Server
	clients  *hub.Handler
	conns    connections
	refusals *limit.RefusalCounter
	calls    *publish.Handler
	health   *health
	public   *echo.Echo
	inside   *echo.Echo // the operators' routes
	guard    *operators
	guarded  map[string]struct{} // paths of the operators' routes; read-only once serving
	log      *slog.Logger
}

// NewServer wires the routes. The node is ready when all checks pass.
func NewServer(cfg Config, sockets *hub.Hub, store publish.Locator, publisher publish.Publisher, checks []Check, reg *prometheus.Registry, log *slog.Logger) *Server {
	log = log.With("component", "gateway")
	refusals, client := limit.NewRefusals(reg, log, slices.Concat(publish.Limits(), hub.Limits(), connectionLimits)...), clientAddr(cfg.TrustedProxies)
	pages := pages{cfg.Origins, cfg.TrustedProxies}
	cfg.Sockets.AllowOrigin = cfg.Origins.Allow
	cfg.Sockets.AllowRequest = func(r *http.Request) error {
		if !pages.allow(r) {
			return errOrigin
		}
		return nil
	}
	cfg.Sockets.ClientAddr, cfg.Sockets.Overloaded = client, sockets.Overloaded
	cfg.Sockets.Metrics, cfg.Sockets.Reasons = reg, []string{hub.ReasonExpired}
	authMetrics := auth.NewMetrics(cfg.Auth.APIKeys, reg, log)
	clients := hub.NewHandler(sockets, hub.HandlerConfig{
		Verifier: cfg.Auth.Verifier, Cookie: cfg.Auth.Cookie, WarnBefore: cfg.Auth.WarnBefore,
		ConnectsPerSecond: cfg.Auth.ConnectsPerSecond, ConnectBurst: cfg.Auth.ConnectBurst,
	}, authMetrics, refusals, log)
	calls := cfg.Publish
	calls.Metrics = reg
	calls.ReadHeaderTimeout, calls.ReadTimeout, calls.ChunkRate = cfg.ReadHeaderTimeout, cfg.ReadTimeout, cfg.Sockets.InboundRate
	calls.APIKeys, calls.Verifier, calls.Scope = cfg.Auth.APIKeys, cfg.Auth.Verifier, cfg.Auth.PublishScope
	calls.AllowPage, calls.ClientAddr, calls.Local, calls.Begin = pages.allow, client, sockets.Has, sockets.Begin()
	s := &Server{
		sio:      sio.New(cfg.Sockets, clients, log),
		clients:  clients,
		conns:    connections{limits: cfg.Connections, proxies: cfg.TrustedProxies, reached: func(name string, from netip.Addr) { refusals.Add(name, from) }},
		refusals: refusals,
		calls:    publish.New(calls, store, publisher, authMetrics, refusals),
		health:   &health{checks: checks},
		guarded:  make(map[string]struct{}),
		log:      log,
	}
	reg.MustRegister(s.health)
	s.conns.measure(reg)
	clients.ServedBy(s.sio)
	public := s.newEcho(cfg)
	public.Match([]string{http.MethodPost, http.MethodGet}, sendPath, s.calls.Send)
	public.GET("/openapi.json", document(callersContract))
	public.Match([]string{http.MethodGet, http.MethodHead}, socketPath+":file", serveClientFile)
	if cfg.TryIt != nil {
		read := []string{http.MethodGet, http.MethodHead}
		public.Match(read, "/", echo.WrapHandler(cfg.TryIt))
		public.Match(read, "/tryit/*", echo.WrapHandler(cfg.TryIt))
	}
	s.public, s.inside, s.guard = public, public, &operators{cfg.Auth.OpsKeys, !cfg.OpsOnOwnListener, authMetrics}
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
	s.Operate(http.MethodGet, "/metrics", metricsHandler(reg))
	s.Operate(http.MethodGet, "/messages/:offset", (&messageRecords{cfg}).handle)
	s.Operate(http.MethodPost, "/api/v1/send", s.calls.SendAsOperator)
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

// socketsFirst serves the Socket.IO endpoint without the middleware of the routes, which it does not
// need, because thousands of requests arrive at a time. Other requests go to the routes.
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

// Clients answers the events of clients.
func (s *Server) Clients() *hub.Handler { return s.clients }

// Calls serves /sendPayload.
func (s *Server) Calls() *publish.Handler { return s.calls }

// Operate adds a route for operators only. It may be called until Serve.
func (s *Server) Operate(method, path string, h echo.HandlerFunc, more ...echo.MiddlewareFunc) {
	s.guarded[path] = struct{}{}
	s.inside.Add(method, path, h, append([]echo.MiddlewareFunc{s.guard.only}, more...)...)
}

// OperatePage adds a route for operators' browsers. A browser without a key asks its user for it.
// OperatePage may be called until Serve.
func (s *Server) OperatePage(path string, h echo.HandlerFunc) {
	s.guarded[path] = struct{}{}
	s.inside.GET(path, h, s.guard.page)
}

// Routes lists the routes of callers and those of operators, for tests of the contracts. Without a
// listener for operators they are the same list. The Socket.IO endpoint is not in them: see
// socketsFirst.
func (s *Server) Routes() (callers, operators []*echo.Route) {
	return s.public.Routes(), s.inside.Routes()
}

// Reasons returns the failed checks with their reasons, and separately those that only degrade the
// node. The node is ready when there are no reasons.
func (s *Server) Reasons(ctx context.Context) (reasons, degraded map[string]string) {
	return s.health.reasons(ctx)
}

// newEcho makes a router whose errors all have the format of [apierror].
func (s *Server) newEcho(cfg Config) *echo.Echo {
	e := echo.New()
	e.HTTPErrorHandler = s.handleError
	routed := func(c echo.Context) error { return c.Handler()(c) }
	around := chain(routed, assignRequestID, s.recover, cfg.Origins.middleware(s.guarded))
	e.Use(func(echo.HandlerFunc) echo.HandlerFunc { return around }) // its argument is the route's handler
	return e
}

// chain puts middleware around a handler, the first outermost. Echo itself would do so again for each
// request.
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
		ReadTimeout:       cfg.ReadTimeout, // a held poll removes it
		WriteTimeout:      cfg.ReadTimeout + cfg.Publish.ReplyTimeout + answerTime,
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
	l = s.conns.bound(l) // before TLS: connections in their handshake count too
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

// Stats counts connections, and reasons of closed and refused ones.
func (s *Server) Stats() sio.Stats { return s.sio.Stats() }

// Hold refuses sockets and calls until SetReady: a node must not accept any under a node id that
// another process may have.
func (s *Server) Hold() {
	s.calls.Hold(true)
	s.sio.Pause()
}

// SetReady accepts sockets and calls. The node is ready when its checks pass.
func (s *Server) SetReady() {
	s.calls.Hold(false)
	s.sio.Resume()
	s.health.serving.Store(true)
}

// Unready makes /readyz answer 503 and waits for grace, so that a balancer sees it before sockets are
// closed.
func (s *Server) Unready(ctx context.Context, grace time.Duration) error {
	s.health.serving.Store(false)
	select {
	case <-time.After(grace):
	case <-ctx.Done():
	}
	return nil
}

// DrainPayloads refuses new /sendPayload calls and waits until the calls in progress have their
// answer. It must be called before the intake stops, which the answers need.
func (s *Server) DrainPayloads(ctx context.Context) error { return s.calls.Drain(ctx) }

// Shutdown closes every socket and stops serving. The sockets are closed in waves over that time:
// their clients reconnect at once and must not all arrive at another node at the same moment. The
// HTTP server is shut down at the same time, because a held poll would keep it waiting.
func (s *Server) Shutdown(ctx context.Context, over time.Duration) error {
	closed := make(chan error, 1)
	go func() {
		s.sio.Drain(ctx, over)
		closed <- s.sio.Close(ctx)
	}()
	err := s.http.Shutdown(ctx)
	s.clients.Close()
	return errors.Join(err, <-closed, s.ops.Shutdown(ctx))
}

// recover answers a handler's panic with 500.
func (s *Server) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		DisablePrintStack: true,
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			s.log.LogAttrs(c.Request().Context(), slog.LevelError, "handler panicked", slog.Any("err", err), slog.String("stack", string(stack)))
			return err
		},
	})(next)
}

// handleError answers requests that no handler has answered.
func (s *Server) handleError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, code, message := http.StatusInternalServerError, apierror.Internal, "Internal error"
	if he, ok := errors.AsType[*echo.HTTPError](err); ok {
		status = he.Code
	}
	switch status {
	case http.StatusNotFound:
		code, message = apierror.NotFound, "No such route"
	case http.StatusMethodNotAllowed:
		code, message = apierror.Method, "Method not allowed"
	case http.StatusInternalServerError:
		s.log.LogAttrs(c.Request().Context(), slog.LevelError, "request failed", slog.String("route", c.Path()), slog.Any("err", err))
	default:
		code, message = apierror.InvalidRequest, http.StatusText(status)
	}
	if err := apierror.Write(c, status, code, message, map[string]any{"action": "sendPayload", "userId": nil}); err != nil {
		s.log.LogAttrs(c.Request().Context(), slog.LevelDebug, "answer not written", slog.Any("err", err))
	}
}
