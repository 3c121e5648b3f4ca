// Package webtransport takes the place of a module that the Socket.IO library
// imports and this program never uses: go.mod replaces
// github.com/zishang520/webtransport-go with it.
//
// The replaced module serves WebTransport. Its newest version has published
// advisories, and it does not build with a version of quic-go without any. This
// package has the names that the library refers to, and refuses every call.
// See docs/adr/0008-dependencies.md.
package webtransport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// ErrUnsupported is what every function here fails with.
var ErrUnsupported = errors.New("webtransport is not part of this program")

// SessionErrorCode is the reason of a closed session.
type SessionErrorCode uint32

// Server never listens.
type Server struct {
	H3          http3.Server
	CheckOrigin func(*http.Request) bool
}

// ListenAndServeTLS fails with ErrUnsupported.
func (*Server) ListenAndServeTLS(_, _ string) error { return ErrUnsupported }

// Upgrade fails with ErrUnsupported.
func (*Server) Upgrade(http.ResponseWriter, *http.Request) (*Session, error) {
	return nil, ErrUnsupported
}

// Close has nothing to close.
func (*Server) Close() error { return nil }

// Session is a session that no Upgrade returns.
type Session struct{}

// AcceptStream fails with ErrUnsupported.
func (*Session) AcceptStream(context.Context) (*Stream, error) { return nil, ErrUnsupported }

// CloseWithError has nothing to close.
func (*Session) CloseWithError(SessionErrorCode, string) error { return nil }

// LocalAddr is nil: there is no connection.
func (*Session) LocalAddr() net.Addr { return nil }

// RemoteAddr is nil: there is no connection.
func (*Session) RemoteAddr() net.Addr { return nil }

// Stream is a stream that no AcceptStream returns.
type Stream struct{}

// Read is at its end.
func (*Stream) Read([]byte) (int, error) { return 0, io.EOF }

// Write fails with ErrUnsupported.
func (*Stream) Write([]byte) (int, error) { return 0, ErrUnsupported }

// Close has nothing to close.
func (*Stream) Close() error { return nil }

// SetReadDeadline fails with ErrUnsupported.
func (*Stream) SetReadDeadline(time.Time) error { return ErrUnsupported }

// SetWriteDeadline fails with ErrUnsupported.
func (*Stream) SetWriteDeadline(time.Time) error { return ErrUnsupported }
