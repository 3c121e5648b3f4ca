package gateway

import (
	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/gateway/publish"
)

// SocketEvents returns the newest events of a user's sockets on this node, newest first.
func (s *Server) SocketEvents(user bridge.UserID, limit int) []hub.SocketEvent {
	return s.clients.SocketEvents(user, limit)
}

// NotFoundCalls returns, likewise, the calls that this node has answered with 404.
func (s *Server) NotFoundCalls(user bridge.UserID, limit int) []publish.NotFoundCall {
	return s.calls.NotFoundCalls(user, limit)
}

// Mapped counts how often a socket of this node was mapped to a user.
func (s *Server) Mapped() uint64 { return s.clients.Mapped() }
