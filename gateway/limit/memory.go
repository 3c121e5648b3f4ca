package limit

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// Limits of a [Memory], by the names that metrics and log lines have for them.
const (
	MemoryPerConnection = "memory_per_connection"
	MemoryPerAddress    = "memory_per_address"
	MemoryTotal         = "memory"
)

// memoryStep is the unit in which accounts charge a Memory, in bytes. An account that holds
// no more than one step charges nothing, so that ordinary connections never touch a counter
// that they share; their number has a limit of its own.
const memoryStep = 4 << 10

// MemoryConfig has the bounds of a [Memory] in bytes; 0 is no limit.
type MemoryConfig struct {
	PerConnection int64 `mapstructure:"max_memory_per_connection"`
	PerAddress    int64 `mapstructure:"max_memory_per_address"` // see [Shared]; this machine's own addresses have no such bound
	Total         int64 `mapstructure:"max_memory"`
}

// Memory accounts for the bytes that a process holds for its clients. Safe for concurrent use.
type Memory struct {
	cfg  MemoryConfig
	held atomic.Int64 // charged by all accounts

	mu        sync.Mutex // guards addresses and the number of accounts of each
	addresses map[netip.Addr]*addressMemory
}

type addressMemory struct {
	held     atomic.Int64 // charged by the accounts of the address
	accounts int          // not closed, or still holding something
}

// NewMemory makes a Memory of which nothing is held.
func NewMemory(cfg MemoryConfig) *Memory {
	return &Memory{cfg: cfg, addresses: make(map[netip.Addr]*addressMemory)}
}

// Held returns the bytes that are charged. It is 0 when every account holds nothing.
func (m *Memory) Held() int64 { return m.held.Load() }

// Open makes the account of one connection from an address. It must be closed.
func (m *Memory) Open(from netip.Addr) *Account {
	a := &Account{memory: m}
	if shared, limited := Shared(from); limited && m.cfg.PerAddress > 0 {
		m.mu.Lock()
		defer m.mu.Unlock()
		a.from, a.address = shared, m.addresses[shared]
		if a.address == nil {
			a.address = new(addressMemory)
			m.addresses[shared] = a.address
		}
		a.address.accounts++
	}
	return a
}

// forget ends an account's share in the memory of its address.
func (m *Memory) forget(a *Account) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.address.accounts--; a.address.accounts == 0 {
		delete(m.addresses, a.from)
	}
}

// Account is what one connection holds. Safe for concurrent use.
type Account struct {
	memory *Memory
	from   netip.Addr // the zero address: no bound for it

	mu      sync.Mutex     // guards what follows
	address *addressMemory // nil: no bound, or the account is closed and empty
	held    int64
	charged int64 // of held, in steps
	closed  bool
}

// Level says how near an account is to its bounds after [Account.Add].
type Level struct {
	// Exceeded is the limit that is exceeded, "" for none. What was added is counted all the
	// same: the caller releases it or ends the connection.
	Exceeded string
	// Crowded reports that less than an eighth of a shared bound is left.
	Crowded bool
}

// Add counts n bytes more, before they are allocated.
func (a *Account) Add(n int) Level {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held += int64(n)
	if a.charge() {
		return a.level()
	}
	return Level{}
}

// Level returns how near the account is to its bounds.
func (a *Account) Level() Level {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.level()
}

// Release counts n bytes less.
func (a *Account) Release(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held -= int64(n)
	a.charge()
	a.leave()
}

// Held returns the bytes that the account holds.
func (a *Account) Held() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held
}

// Close says that nothing more is added. What the account holds counts until it is released.
func (a *Account) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.closed = true
		a.leave()
	}
}

// SameAddress reports whether both accounts count towards the bound of one address.
func (a *Account) SameAddress(b *Account) bool { return a.from.IsValid() && a.from == b.from }

// charge makes the shared counters agree with what is held, and reports whether anything is
// charged now. With a.mu held.
func (a *Account) charge() bool {
	due := int64(0)
	if a.held > memoryStep {
		due = (a.held + memoryStep - 1) / memoryStep * memoryStep
	}
	if more := due - a.charged; more != 0 {
		a.charged = due
		a.memory.held.Add(more)
		if a.address != nil {
			a.address.held.Add(more)
		}
	}
	return due > 0
}

// level compares with the bounds. With a.mu held.
func (a *Account) level() (l Level) {
	cfg := a.memory.cfg
	near := func(held, bound int64, name string) {
		if bound <= 0 {
			return
		}
		if held > bound {
			l.Exceeded = name
		}
		l.Crowded = l.Crowded || held > bound-bound/8
	}
	near(a.memory.held.Load(), cfg.Total, MemoryTotal)
	if a.address != nil {
		near(a.address.held.Load(), cfg.PerAddress, MemoryPerAddress)
	}
	if cfg.PerConnection > 0 && a.held > cfg.PerConnection {
		l.Exceeded = MemoryPerConnection
	}
	return l
}

// leave gives up the address once the account is closed and holds nothing. With a.mu held.
func (a *Account) leave() {
	if a.closed && a.held == 0 && a.address != nil {
		a.memory.forget(a)
		a.address = nil
	}
}

// Room returns how many bytes must be released so that a quarter of each shared bound that
// is crowded is free again: by accounts of the same address, and by any.
func (a *Account) Room() (ofAddress, ofAll int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	over := func(held, bound int64) int64 {
		if bound <= 0 || held <= bound-bound/8 {
			return 0
		}
		return held - (bound - bound/4)
	}
	if a.address != nil {
		ofAddress = over(a.address.held.Load(), a.memory.cfg.PerAddress)
	}
	return ofAddress, over(a.memory.held.Load(), a.memory.cfg.Total)
}
