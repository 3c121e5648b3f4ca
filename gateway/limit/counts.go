package limit

import (
	"net/netip"
	"sync"
)

// Counts is how much each address holds at this moment. An address that holds
// nothing takes no memory.
type Counts struct {
	most int

	mu   sync.Mutex // guards held
	held map[netip.Addr]int
}

// NewCounts makes an account in which each address may hold that much; 0 is no limit.
func NewCounts(most int) *Counts {
	return &Counts{most: most, held: make(map[netip.Addr]int)}
}

// Take counts one more, to be given back with [Counts.Release], and reports
// whether the address may hold it.
func (c *Counts) Take(a netip.Addr) bool {
	if c.most <= 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[a] >= c.most {
		return false
	}
	c.held[a]++
	return true
}

// Release gives one back.
func (c *Counts) Release(a netip.Addr) {
	if c.most <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[a]--; c.held[a] <= 0 {
		delete(c.held, a)
	}
}

// Len is how many addresses hold something.
func (c *Counts) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.held)
}
