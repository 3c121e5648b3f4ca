package store

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Ops lists the operations that an [Observer] is told of.
func Ops() []string {
	return []string{
		"beat", "delivered", "drop_session", "leave", "locate", "nodes", "ping", "reap", "register", "renew",
		"save_sessions", "serving", "session", "taken", "unregister", "went_back",
	}
}

// RedisStats is what the store knows of Redis without asking. Reading it never waits.
type RedisStats struct {
	// Away: a server, which may be one of many masters, does not answer, and calls to it fail without
	// being tried.
	Away bool
	// Connections to all servers, of which Idle are not in use.
	Connections, Idle int
	// PoolTimeouts counts calls that found no free connection in time.
	PoolTimeouts uint64
	// WentBack counts the times that a master was found in an earlier state.
	WentBack uint64
	Memory   RedisMemory
}

// RedisMemory is that of the master that is fullest, as it was ten seconds ago or
// later; zero before the first answer and where Redis keeps it to itself.
type RedisMemory struct {
	Used uint64 // bytes
	Max  uint64 // bytes, 0: no limit
}

// fullness orders masters; without a limit, by what they use.
func (m RedisMemory) fullness() float64 {
	if m.Max == 0 {
		return float64(m.Used) / (1 << 60)
	}
	return float64(m.Used) / float64(m.Max)
}

// Stats returns the figures at this moment.
func (r *Redis) Stats() RedisStats {
	pool := r.client.PoolStats()
	s := RedisStats{
		Away:        r.breakers.away.Load() > 0,
		Connections: int(pool.TotalConns), Idle: int(pool.IdleConns),
		PoolTimeouts: uint64(pool.Timeouts),
		WentBack:     r.canaries.wentBack.Load(),
	}
	if m := r.memory.Load(); m != nil {
		s.Memory = *m
	}
	return s
}

// memoryEvery is how often Redis is asked for its memory.
const memoryEvery = 10 * time.Second

// watchMemory asks for the memory of Redis, and at first for risky settings, until the store is closed. A Redis that
// does not answer is asked again later.
func (r *Redis) watchMemory() {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	said := false
	for {
		said = said || r.sayRisks()
		if m, err := r.askMemory(r.life); err == nil {
			r.memory.Store(&m)
		}
		select {
		case <-tick.C:
		case <-r.life.Done():
			return
		}
	}
}

func (r *Redis) askMemory(ctx context.Context) (RedisMemory, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, errTooSlow)
	defer cancel()
	var (
		mu      sync.Mutex // guards fullest
		fullest RedisMemory
	)
	err := r.forEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		text, err := master.Info(ctx, "memory").Result()
		m := parseMemory(text)
		mu.Lock()
		defer mu.Unlock()
		if m.fullness() > fullest.fullness() {
			fullest = m
		}
		return err
	})
	return fullest, err
}

// parseMemory reads the answer to INFO: a line for each figure.
func parseMemory(info string) (m RedisMemory) {
	m.Used, _ = strconv.ParseUint(infoField(info, "used_memory"), 10, 64) // zero when it is not there
	m.Max, _ = strconv.ParseUint(infoField(info, "maxmemory"), 10, 64)
	return m
}
