package gateway

import (
	"context"
	"sync"
	"time"
)

// patience is how long calls may take. Those that begin at about the same time share
// one deadline, for a context with a timer of its own costs each more than it needs.
// Safe for concurrent use.
type patience struct {
	limit time.Duration

	mu     sync.Mutex // guards all below
	begun  time.Time  // when the first that share it began
	shared context.Context
}

// of returns the context of a call that begins now. It ends after the limit, or up to
// a 64th of it later, with [context.DeadlineExceeded] as its cause. It belongs to no request:
// a caller that leaves does not end it, for its message is on its way.
func (p *patience) of(now time.Time) context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	more := p.limit / 64
	if since := now.Sub(p.begun); p.shared == nil || since > more || since < 0 {
		ctx, end := context.WithCancelCause(context.Background())
		time.AfterFunc(p.limit+more, func() { end(context.DeadlineExceeded) })
		p.begun, p.shared = now, ctx
	}
	return p.shared
}
