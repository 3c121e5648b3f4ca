package store

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisMemory is that of the master that is fullest, as it was ten seconds ago or
// later; zero before the first answer and where Redis keeps it to itself.
type redisMemory struct {
	used uint64 // bytes
	max  uint64 // bytes, 0: no limit
}

// fullness orders masters; without a limit, by what they use.
func (m redisMemory) fullness() float64 {
	if m.max == 0 {
		return float64(m.used) / (1 << 60)
	}
	return float64(m.used) / float64(m.max)
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

func (r *Redis) askMemory(ctx context.Context) (redisMemory, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, errTooSlow)
	defer cancel()
	var (
		mu      sync.Mutex // guards fullest
		fullest redisMemory
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
func parseMemory(info string) (m redisMemory) {
	m.used, _ = strconv.ParseUint(infoField(info, "used_memory"), 10, 64) // zero when it is not there
	m.max, _ = strconv.ParseUint(infoField(info, "maxmemory"), 10, 64)
	return m
}
