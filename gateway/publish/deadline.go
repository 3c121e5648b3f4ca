package publish

import (
	"context"
	"sync"
	"time"
)

// sharedDeadline bounds how long calls wait. Calls that begin at about the same time share one
// context, which costs less than a context with a timer for each. Safe for concurrent use.
type sharedDeadline struct {
	limit time.Duration

	mu     sync.Mutex // guards all below
	begun  time.Time  // when the first call that shares it began
	shared context.Context
}

// of returns the context of a call that begins now. It ends after the limit, or up to a 64th of
// it later, with [context.DeadlineExceeded] as its cause. A caller that leaves does not end it:
// its message may be in the stream.
func (p *sharedDeadline) of(now time.Time) context.Context {
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
