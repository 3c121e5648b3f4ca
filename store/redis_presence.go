package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// presenceResolver turns presence hashes into the sockets on live nodes. It serves one
// operation, and one goroutine.
type presenceResolver struct {
	r          *Redis
	membership *membership
	now        time.Time
	asked      int               // how often the membership was renewed because of an unknown node
	found      []bridge.Presence // where the results of a batch are laid, to save allocations
}

// sockets returns the live ones of a hash, given as field, value, field, ….
// A registration of a node that the membership does not know makes it ask again:
// a socket must not be missed because its node has just joined.
func (s *presenceResolver) sockets(ctx context.Context, presenceKey string, hash []string) ([]bridge.Presence, error) {
	first := len(s.found)
	for i := 0; i+1 < len(hash); i += 2 {
		incarnation, p, err := parsePresence(hash[i], hash[i+1])
		if err != nil {
			return nil, err
		}
		v, err := s.nodeStatus(ctx, incarnation)
		if err != nil {
			return nil, err
		}
		switch v {
		case alive:
			s.found = append(s.found, p)
		case dead:
			s.r.enqueueCleanup(staleRegistration{presenceKey, hash[i], hash[i+1]})
		case unsure: // see nodeStatus: its node is about to register again
		}
	}
	found := s.found[first:len(s.found):len(s.found)]
	if len(found) == 0 {
		return nil, nil
	}
	slices.SortFunc(found, oldestFirst)
	return found, nil
}

// nodeStatus asks at most twice in one operation: the first answer may be one that
// another caller requested before this operation read its hash; the second is
// not. What stays unsure after that has lost its lease to a loss of data, and
// its node is about to register again.
func (s *presenceResolver) nodeStatus(ctx context.Context, incarnation string) (nodeStatus, error) {
	for {
		v := s.membership.nodeStatus(incarnation, s.now)
		if v != unsure || s.asked == 2 {
			return v, nil
		}
		m, err := s.r.membersAfter(ctx, s.membership)
		if err != nil {
			return unsure, err
		}
		s.membership, s.now = m, time.Now()
		s.asked++
	}
}

func oldestFirst(a, b bridge.Presence) int {
	return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Socket, b.Socket))
}

// parsePresence reads one field of a presence hash: see [keyspace].
func parsePresence(socket, value string) (incarnation string, p bridge.Presence, err error) {
	incarnation, rest, _ := strings.Cut(value, "|")
	since, _, _ := strings.Cut(rest, "|")
	us, err := strconv.ParseInt(since, 10, 64)
	if err != nil {
		return "", p, fmt.Errorf("presence value: %w: %w", errGarbage, err)
	}
	node, _, ok := cutIncarnation(incarnation)
	if !ok {
		return "", p, fmt.Errorf("presence value: %w: no incarnation in %q", errGarbage, incarnation)
	}
	return incarnation, bridge.Presence{Socket: bridge.SocketID(socket), Node: node, Since: time.UnixMicro(us)}, nil
}

// staleRegistration is a registration of a dead node, to be removed if it is still that one.
type staleRegistration struct{ presenceKey, socket, value string }

// enqueueCleanup never waits. What it drops when the queue is full, the next reader finds again.
func (r *Redis) enqueueCleanup(g staleRegistration) {
	select {
	case r.cleaning <- g:
	default:
	}
}

// cleanUp removes dead registrations in the background until the store is closed.
func (r *Redis) cleanUp() {
	for {
		select {
		case <-r.life.Done():
			return
		case g := <-r.cleaning:
			// A failure leaves the registration where it is: hidden, and found again.
			_ = r.do(r.life, "reap", func(ctx context.Context) error {
				return r.run(ctx, reapScript.call(ctx, []string{g.presenceKey}, g.socket, g.value))
			})
		}
	}
}
