package sio

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
)

// refusal is the body of a refused request, in Engine.IO's form and with its codes.
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

var (
	unknownTransport = refusal{0, "Transport unknown"}
	unknownSession   = refusal{1, "Session ID unknown"}
	badMethod        = refusal{2, "Bad handshake method"}
	badRequest       = refusal{3, "Bad request"}
	stopping         = refusal{4, "The server is stopping, try again later"}
	tooBusy          = refusal{4, "Too many connections, try again later"}
	badProtocol      = refusal{5, "Unsupported protocol version"}
)

// refusalNames are the counters of refusals, by code.
var refusalNames = []string{"transport", "session", "method", "request", "forbidden", "protocol"}

// refuse writes the answer of an Engine.IO server.
func refuse(w http.ResponseWriter, status int, why refusal) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // JSON.stringify does not escape it either
	_ = encoder.Encode(why)      // cannot fail
	if h := w.Header(); status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(bytes.TrimSuffix(body.Bytes(), []byte("\n"))) // a client that is gone needs no answer
}

// refuseHandshake refuses a request for a new session and logs it, with one line for each code in
// ten seconds.
func (s *Server) refuseHandshake(w http.ResponseWriter, r *http.Request, status int, why refusal) {
	refuse(w, status, why)
	times, due := s.metrics.handshakes.Due(refusalNames[why.Code])
	if !due {
		return
	}
	query := r.URL.Query() // not logged as a whole: a client may put a token into it
	s.log.LogAttrs(r.Context(), slog.LevelWarn, "handshake refused",
		slog.String("reason", why.Message), slog.Int("code", why.Code), slog.Int("times", times), slog.Any("address", s.cfg.ClientAddr(r)),
		slog.String("origin", abbreviate(r.Header.Get("Origin"))), slog.String("transport", abbreviate(query.Get("transport"))),
		slog.String("protocol", abbreviate(query.Get("EIO"))))
}

// abbreviate bounds a client's text in the log.
func abbreviate(s string) string {
	const most = 128 // bytes
	return s[:min(len(s), most)]
}
