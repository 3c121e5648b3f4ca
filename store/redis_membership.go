package store

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// membership is what was known of the nodes at one moment. Immutable.
//
// It decides about every incarnation without asking again: join numbers only
// grow and are given out together with the lease, so one that is not listed is
// dead for ever if its number is not newer than the newest the membership knows.
type membership struct {
	joins   uint64               // the newest join number
	until   map[string]time.Time // incarnation to the end of its lease, by this process's clock
	expires time.Time            // the first of those ends
}

type nodeStatus int

const (
	alive  nodeStatus = iota
	dead              // and never coming back
	unsure            // joined after the membership was made, or its lease should have been renewed since
)

func (m *membership) nodeStatus(incarnation string, now time.Time) nodeStatus {
	if until, ok := m.until[incarnation]; ok {
		if now.Before(until) {
			return alive
		}
		return unsure
	}
	if _, join, ok := cutIncarnation(incarnation); ok && join > m.joins {
		return unsure
	}
	return dead
}

// cutIncarnation takes "<node>.<join number>" apart. Node ids have no dot.
func cutIncarnation(s string) (node bridge.NodeID, join uint64, ok bool) {
	name, number, ok := strings.Cut(s, ".")
	if !ok {
		return "", 0, false
	}
	join, err := strconv.ParseUint(number, 10, 64)
	return bridge.NodeID(name), join, err == nil
}

// parseMembership reads what members.lua wrote. asked is when the request was made:
// a lease may end a round trip early by this clock, never late.
func parseMembership(reply []string, asked time.Time) (*membership, error) {
	if len(reply)%2 != 1 {
		return nil, errAnswer
	}
	joins, err := strconv.ParseUint(reply[0], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("members: join number: %w", err)
	}
	m := &membership{joins: joins, until: make(map[string]time.Time, len(reply)/2), expires: asked.Add(time.Hour)}
	for pair := range slices.Chunk(reply[1:], 2) {
		left, err := strconv.ParseInt(pair[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("members: lease: %w", err)
		}
		until := asked.Add(time.Duration(left) * time.Millisecond)
		m.until[pair[0]] = until
		if until.Before(m.expires) {
			m.expires = until
		}
	}
	return m, nil
}

// members returns a membership in which no lease has ended.
func (r *Redis) members(ctx context.Context) (*membership, error) {
	if m := r.membership.Load(); m != nil && time.Now().Before(m.expires) {
		return m, nil
	}
	return r.membersAfter(ctx, r.membership.Load())
}

// membersAfter returns a membership other than old: one that another caller has
// fetched meanwhile, or else a new one. Callers share the round trip.
func (r *Redis) membersAfter(ctx context.Context, old *membership) (*membership, error) {
	if err := r.lockMembership(ctx); err != nil {
		return nil, err
	}
	defer r.unlockMembership()
	if m := r.membership.Load(); m != old && m != nil {
		return m, nil
	}
	asked := time.Now()
	c := nodesScript.call(ctx, []string{r.keys.nodes, r.keys.joins})
	if err := r.run(ctx, c); err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	m, err := parseMembership(c.Val(), asked)
	if err != nil {
		return nil, err
	}
	r.membership.Store(m)
	return m, nil
}

// lockMembership lets one caller at a time ask, so that an older answer never
// replaces a newer one. Unlike a mutex it gives up with the context.
func (r *Redis) lockMembership(ctx context.Context) error {
	select {
	case r.asking <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the list of nodes: %w", context.Cause(ctx))
	}
}

func (r *Redis) unlockMembership() { <-r.asking }
