package gateway

import (
	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/gateway/publish"
)

// Joins counts the clients that joined, by how they came.
func (s *Server) Joins() hub.Joins { return s.clients.Joins() }

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

// Checks names everything that a ready node needs, in a fixed order.
func (s *Server) Checks() []string {
	names := []string{processCheck}
	for _, c := range s.health.checks {
		names = append(names, c.Name)
	}
	return names
}

// Answers counts what /sendPayload was answered with, by HTTP status, also with zero.
func (s *Server) Answers() map[string]uint64 { return s.calls.Answers() }

// AuthStats counts authentications.
type AuthStats struct {
	Results map[string]map[string]uint64 // by kind, then "ok" or the code of the refusal
	Keys    map[string]uint64            // calls of /sendPayload by the name of their API key
	Expired uint64                       // sockets closed because their token had expired
}

// AuthStats returns the counts at this moment.
func (s *Server) AuthStats() AuthStats {
	return AuthStats{Results: s.authMetrics.Results(), Keys: s.authMetrics.Keys(), Expired: s.clients.Expired()}
}
