package sio

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/gorilla/websocket"
)

// ServeHTTP serves the endpoint. Clients expect it at /socket.io/.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.guard(func() { s.serve(w, r) }) {
		w.WriteHeader(http.StatusInternalServerError) // of no effect when the answer has begun
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.allowOrigin(w, r)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	transport, sid := query.Get("transport"), query.Get("sid")
	switch { // in Engine.IO's order: the first code that applies
	case err != nil, len(query["transport"]) > 1, len(query["sid"]) > 1, query.Has("j"):
		s.refuseHandshake(w, r, http.StatusBadRequest, badRequest)
	case r.Method == http.MethodGet && r.ContentLength != 0: // a body may arrive slowly while the GET waits
		s.refuseHandshake(w, r, http.StatusBadRequest, badRequest)
	case !s.allows(transport):
		s.refuseHandshake(w, r, http.StatusBadRequest, unknownTransport)
	case sid != "":
		s.serveSession(w, r, sid, query)
	case r.Method != http.MethodGet:
		s.refuseHandshake(w, r, http.StatusBadRequest, badMethod)
	case websocket.IsWebSocketUpgrade(r) != (transport == websocketTransport):
		s.refuseHandshake(w, r, http.StatusBadRequest, badRequest)
	default:
		s.serveHandshake(w, r, query)
	}
}

// speaksProtocol reports whether a client uses Engine.IO protocol 4. Without EIO it uses 3.
func speaksProtocol(query url.Values) bool { return slices.Equal(query["EIO"], []string{"4"}) }

// allowOrigin sets the CORS headers. Browsers do not accept "*" with credentials.
func (s *Server) allowOrigin(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || s.cfg.AllowOrigin == nil || !s.cfg.AllowOrigin(origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "GET,POST")
		h.Set("Access-Control-Allow-Headers", "Content-Type,Authorization")
		h.Set("Access-Control-Max-Age", "600")
	}
}

// serveSession serves a request of a session that exists: a GET or POST of
// polling, or the upgrade to websocket.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, sid string, query url.Values) {
	c, upgrade := s.conn(sid), query.Get("transport") == websocketTransport
	switch {
	case c == nil:
		refuse(w, http.StatusBadRequest, unknownSession)
	case !speaksProtocol(query), websocket.IsWebSocketUpgrade(r) != upgrade:
		refuse(w, http.StatusBadRequest, badRequest)
	case upgrade:
		s.serveUpgrade(w, r, c)
	case r.Method == http.MethodGet:
		c.poll(w, r)
	case r.Method == http.MethodPost:
		c.post(w, r)
	default:
		refuse(w, http.StatusBadRequest, badRequest)
	}
}

func (s *Server) serveUpgrade(w http.ResponseWriter, r *http.Request, c *conn) {
	if !s.admit() {
		refuse(w, http.StatusServiceUnavailable, stopping)
		return
	}
	if !c.reserveProbe() {
		s.work.Done()
		refuse(w, http.StatusBadRequest, badRequest)
		return
	}
	l, err := s.openLink(w, r)
	if err == nil {
		err = l.accept()
	}
	if err != nil {
		c.dropProbe(nil)
		s.work.Done()
		return
	}
	go func() { // not on net/http's goroutine, which holds several kilobytes
		defer s.work.Done()
		c.upgrade(l)
	}()
}

// serveHandshake begins a session.
func (s *Server) serveHandshake(w http.ResponseWriter, r *http.Request, query url.Values) {
	from := s.cfg.ClientAddr(r)
	if s.tooFast(w, from) {
		return
	}
	if s.cfg.AllowRequest != nil {
		if err := s.cfg.AllowRequest(r); err != nil {
			s.refuseHandshake(w, r, http.StatusForbidden, refusal{4, err.Error()})
			return
		}
	}
	if !speaksProtocol(query) {
		s.refuseHandshake(w, r, http.StatusBadRequest, badProtocol)
		return
	}
	c, l := s.begin(w, r, from, query.Get("transport"))
	switch {
	case c == nil: // and answered
	case l == nil:
		c.poll(w, r)
	default:
		s.work.Go(func() { c.read(l) })
	}
}

// begin makes the conn and, for a websocket, its link, with a connect slot. When it returns no
// conn, it has answered the client.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, from netip.Addr, transport string) (*conn, *link) {
	slot := s.slotFor(w, r)
	if slot == nil {
		if r.Context().Err() == nil { // the client has not left
			s.refuseBusy(w, http.StatusServiceUnavailable, LimitHandshakes, from, time.Second)
		}
		return nil, nil
	}
	defer s.limits.connects.release(slot)
	if s.tooMany(w, from) { // conn.finish undoes what it counts, and admit
		return nil, nil
	}
	if !s.admit() {
		s.limits.release(from)
		refuse(w, http.StatusServiceUnavailable, stopping)
		return nil, nil
	}
	kept := requestOf(r)
	memory := s.openAccount(w, from, kept.size)
	var l *link
	var err error
	if memory != nil && transport == websocketTransport {
		if l, err = s.openLink(w, r); err != nil {
			memory.Release(kept.size)
			memory.Close()
		}
	}
	if memory == nil || err != nil { // and answered
		s.limits.release(from)
		s.work.Done()
		return nil, nil
	}
	c := s.handshake(kept, from, transport, memory)
	if l != nil && !c.open(l) {
		return nil, nil
	}
	return c, l
}

// slotFor returns the connect slot of a request: the one with which a wsListener has read it,
// or the next one. It returns nil when too many handshakes wait or the client has left.
func (s *Server) slotFor(w http.ResponseWriter, r *http.Request) *connectSlot {
	if early, ok := w.(*wsResponse); ok {
		slot := early.slot
		early.slot = nil
		return slot
	}
	return s.takeConnectSlot(r.Context())
}
