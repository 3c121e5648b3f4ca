package store

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// roundTrips is how many of them redis.timeout should allow: a call may make two, a
	// connection with TLS three, and some are slow.
	roundTrips = 5
	// riskPings is how many are timed. The fastest one counts: the others waited for something else.
	riskPings = 3
)

// Risks asks each master and returns a sentence for each setting that endangers what is kept there:
// a time limit that is short for the way to it, and keys that are evicted when memory is full. What
// Redis keeps to itself is no risk. It fails when a master does not answer.
func (r *Redis) Risks(ctx context.Context) ([]string, error) {
	var (
		mu   sync.Mutex // guards list
		list []string
	)
	err := r.forEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		rtt := time.Hour
		for range riskPings {
			begun := time.Now()
			if err := master.Ping(ctx).Err(); err != nil {
				return unavailable(ctx, err)
			}
			rtt = min(rtt, time.Since(begun))
		}
		info, err := master.Info(ctx, "memory").Result()
		if err != nil && judge(ctx, err) != answered {
			return unavailable(ctx, err)
		}
		mu.Lock()
		defer mu.Unlock()
		list = append(list, risks(master.Options().Addr, r.timeout, rtt, info)...)
		return nil
	})
	slices.Sort(list)
	return list, err
}

// risks lists those of one master.
func risks(addr string, timeout, rtt time.Duration, info string) (list []string) {
	if timeout < roundTrips*rtt {
		list = append(list, fmt.Sprintf("redis.timeout is %v and a round trip to %s takes %v: calls fail when it is a little slower; set it to %v or more",
			timeout, addr, rtt.Round(time.Millisecond), (roundTrips*rtt).Round(10*time.Millisecond)))
	}
	policy := infoField(info, "maxmemory_policy")
	if policy != "" && policy != "noeviction" && parseMemory(info).max > 0 {
		list = append(list, fmt.Sprintf("maxmemory-policy of %s is %s: when its memory is full, sockets and sessions vanish; set it to noeviction", addr, policy))
	}
	return list
}

// infoField is one field of an answer to INFO, empty when it is not there.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if key, value, _ := strings.Cut(strings.TrimSpace(line), ":"); key == name {
			return value
		}
	}
	return ""
}

// sayRisks logs them once Redis has answered.
func (r *Redis) sayRisks() (said bool) {
	ctx, cancel := context.WithTimeout(r.life, (riskPings+1)*r.timeout)
	defer cancel()
	list, err := r.Risks(ctx)
	for _, risk := range list {
		r.log.LogAttrs(ctx, slog.LevelWarn, "configuration", slog.String("warning", risk))
	}
	return err == nil
}
