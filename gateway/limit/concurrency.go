package limit

import (
	"net/netip"
	"sync"
)

// ConcurrencyLimiter limits what each address holds at the same time, see [Shared]. An address
// that holds nothing takes no memory. Safe for concurrent use.
type ConcurrencyLimiter struct {
	most int

	mu   sync.Mutex // guards held
	held map[netip.Addr]int
}

// NewConcurrencyLimiter returns a limiter of most for each address; 0 is no limit.
func NewConcurrencyLimiter(most int) *ConcurrencyLimiter {
	return &ConcurrencyLimiter{most: most, held: make(map[netip.Addr]int)}
}

// Take counts one more for the address and reports whether the limit allows it. If so,
// [ConcurrencyLimiter.Release] must follow.
func (l *ConcurrencyLimiter) Take(from netip.Addr) bool {
	shared, limited := Shared(from)
	if l.most <= 0 || !limited {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[shared] >= l.most {
		return false
	}
	l.held[shared]++
	return true
}

// Release counts one less.
func (l *ConcurrencyLimiter) Release(from netip.Addr) {
	shared, limited := Shared(from)
	if l.most <= 0 || !limited {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held[shared]--; l.held[shared] <= 0 {
		delete(l.held, shared)
	}
}

// Len returns how many addresses hold something.
func (l *ConcurrencyLimiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held)
}
