package gateway

import (
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/gateway/sio"
)

// HubStats counts what the hub has done, beside [Hub.Pushes], and what it is at.
type HubStats struct {
	Binding int    // sockets that wait for the store to register them
	Gaps    uint64 // sockets that were told HISTORY_GAP: messages they missed are gone
	Rejoins uint64 // times that every socket was registered again, the first time included
	Renewed uint64 // registrations that were found to be lost, and were made again
}

// Stats returns the figures at this moment.
func (h *Hub) Stats() HubStats {
	return HubStats{int(h.binding.Load()), h.gaps.Load(), h.rejoins.Load(), h.renewed.Load()}
}

// Joins counts the pages that joined, by how they came.
type Joins struct {
	New     uint64 // for the first time, as far as they say
	Resumed uint64 // back after a lost connection, recognised
	Unknown uint64 // back, but not recognised: they start anew
}

type joins struct{ fresh, resumed, unknown atomic.Uint64 }

func (j *joins) count(presented sio.Auth, recovered bool) {
	switch {
	case recovered:
		j.resumed.Add(1)
	case presented.PID != "":
		j.unknown.Add(1)
	default:
		j.fresh.Add(1)
	}
}

// Joins returns the counts at this moment.
func (s *Server) Joins() Joins {
	j := &s.events.joins
	return Joins{j.fresh.Load(), j.resumed.Load(), j.unknown.Load()}
}

// Checks names everything that a ready node needs, in a fixed order.
func (s *Server) Checks() []string {
	names := []string{processCheck}
	for _, c := range s.health.checks {
		names = append(names, c.Name)
	}
	return names
}

// otherStatus counts what answers should never have.
const otherStatus = 0

// statuses counts what /sendPayload was answered with, by HTTP status.
type statuses map[int]*atomic.Uint64 // never changed after newStatuses

func newStatuses() statuses {
	a := statuses{otherStatus: new(atomic.Uint64)}
	for _, status := range []int{
		http.StatusOK, http.StatusAccepted, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	} {
		a[status] = new(atomic.Uint64)
	}
	return a
}

func (a statuses) count(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := next(c); err != nil {
			c.Error(err) // answers, so that the status is known
		}
		n := a[c.Response().Status]
		if n == nil {
			n = a[otherStatus]
		}
		n.Add(1)
		return nil
	}
}

// Answers counts what /sendPayload was answered with, by HTTP status, also with zero.
func (s *Server) Answers() map[string]uint64 {
	out := make(map[string]uint64, len(s.answered))
	for status, n := range s.answered {
		name := "other"
		if status != otherStatus {
			name = strconv.Itoa(status)
		}
		out[name] = n.Load()
	}
	return out
}
