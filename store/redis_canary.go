package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// unsettledFor is how long after a master went back its answer "absent" counts as
	// unknown: each node looks once a second, and then registers its sockets again.
	unsettledFor = 3 * time.Second
	// canaryLives is how long a canary value outlives its node.
	canaryLives = 5 * time.Minute
	// mostCanaryTags bounds the search for a key of a master that owns few slots.
	mostCanaryTags = 1 << 17
)

// errUnsettled means that a master has gone back, and that not every node may have
// registered its sockets again.
var errUnsettled = fmt.Errorf("%w: redis went back to an earlier state, sockets are being registered again", bridge.ErrUnavailable)

// canaries are values that only this node knows, one on each master. A master that does not
// have its value has gone back to an earlier state: it came from a snapshot or was emptied,
// or a replica that was behind took its place. A replica that lacks less than the time
// between two values has the right value, so the id of the replicated data counts too: each
// restart and each promotion changes it. Where Redis does not tell it, the value alone counts.
type canaries struct {
	round  sync.Mutex // held during a round, so that one waits for the other
	n      uint64     // owned by the round
	random string     // tells this process's values from a predecessor's

	mu      sync.Mutex // guards masters and what it holds; never held during a round trip
	masters map[string]*canary
	rounds  int

	noticed  atomic.Pointer[time.Time] // when a master was last found to have gone back
	wentBack atomic.Uint64             // how often one was
}

// canary is what this node knows of one master.
type canary struct {
	key             string
	left, attempted string // the value may be either when an answer was lost
	data            string // see canary.lua
}

// WentBack looks at every master. Those that answer count though others do not.
func (r *Redis) WentBack(ctx context.Context) (parts int, err error) {
	err = r.do(ctx, "went_back", func(ctx context.Context) error {
		r.canaries.round.Lock()
		defer r.canaries.round.Unlock()
		var found atomic.Int64
		err := r.eachCanary(ctx, func(ctx context.Context, c *canary, late bool, master *redis.Client) error {
			back, err := r.leaveCanary(ctx, c, late, master)
			if back {
				found.Add(1)
			}
			return err
		})
		r.canaries.mu.Lock()
		r.canaries.rounds++
		r.canaries.mu.Unlock()
		parts = int(found.Load())
		return err
	})
	if parts > 0 {
		r.canaries.noticed.Store(new(time.Now()))
		r.canaries.wentBack.Add(uint64(parts))
	}
	return parts, err
}

// leaveCanary replaces the value on one master. A master that was not there before is
// another's replacement, unless this is the first round.
func (r *Redis) leaveCanary(ctx context.Context, c *canary, late bool, master *redis.Client) (back bool, err error) {
	mu := &r.canaries.mu
	mu.Lock()
	if c.attempted == c.left {
		c.attempted = r.canaries.random + strconv.FormatUint(r.canaries.n, 10)
	}
	now := *c
	mu.Unlock()
	same, data, err := now.ask(ctx, master, now.attempted)
	if err != nil {
		return false, err
	}
	first := now.left == "" && !late
	mu.Lock()
	defer mu.Unlock()
	c.left, c.data = now.attempted, data
	return !same && !first, nil
}

// ask runs the script on the server itself: a redirection would lead to another one.
func (c canary) ask(ctx context.Context, master *redis.Client, leave string) (same bool, data string, err error) {
	run := func() ([]string, error) {
		call := canaryScript.call(ctx, []string{c.key}, c.left, c.attempted, c.data, leave, canaryLives.Milliseconds())
		_ = master.Process(ctx, call)
		return call.Result()
	}
	reply, err := run()
	if noScript(err) {
		if err = master.ScriptLoad(ctx, canaryScript.source).Err(); err == nil {
			reply, err = run()
		}
	}
	if err != nil {
		return false, "", err
	}
	if len(reply) != 2 {
		return false, "", errAnswer
	}
	return reply[0] == "1", reply[1], nil
}

// eachCanary calls do for each master at the same time; late says that the master, or its
// key, was not there in an earlier round. One round at a time calls it.
func (r *Redis) eachCanary(ctx context.Context, do func(context.Context, *canary, bool, *redis.Client) error) error {
	cs := r.canaries
	cs.n++
	cluster, ok := r.client.(*redis.ClusterClient)
	if !ok {
		c, _ := cs.of("", r.keys.canary("0", r.node))
		return do(ctx, c, false, r.client.(*redis.Client))
	}
	var mu sync.Mutex // guards clients
	clients := make(map[string]*redis.Client)
	err := cluster.ForEachMaster(ctx, func(_ context.Context, master *redis.Client) error { // from a fresh list
		mu.Lock()
		defer mu.Unlock()
		clients[master.Options().Addr] = master
		return nil
	})
	if err != nil {
		return err
	}
	keys := r.canaryKeys(ctx, cluster, clients)
	var wg sync.WaitGroup
	errs := make(chan error, len(keys))
	for addr, key := range keys {
		c, rounds := cs.of(addr, key)
		wg.Go(func() { errs <- do(ctx, c, rounds > 0, clients[addr]) })
	}
	wg.Wait()
	close(errs)
	cs.mu.Lock()
	for addr := range cs.masters {
		if _, there := clients[addr]; !there {
			delete(cs.masters, addr) // should it lead again, it counts as gone back
		}
	}
	cs.mu.Unlock()
	var all []error
	for err := range errs {
		all = append(all, err)
	}
	return errors.Join(all...)
}

// of returns what is known of a master under a key, and how many rounds there were.
func (cs *canaries) of(addr, key string) (c *canary, rounds int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c = cs.masters[addr]
	if c == nil || c.key != key {
		c = &canary{key: key}
		cs.masters[addr] = c
	}
	return c, cs.rounds
}

// canaryKeys finds a key in a slot of each master, the one of the last round if it still is.
func (r *Redis) canaryKeys(ctx context.Context, cluster *redis.ClusterClient, masters map[string]*redis.Client) map[string]string {
	keys := make(map[string]string, len(masters))
	take := func(key string) {
		owner, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			return
		}
		addr := owner.Options().Addr
		if _, have := keys[addr]; !have && masters[addr] != nil {
			keys[addr] = key
		}
	}
	r.canaries.mu.Lock()
	var last []string
	for _, c := range r.canaries.masters {
		last = append(last, c.key)
	}
	r.canaries.mu.Unlock()
	for _, key := range last {
		take(key)
	}
	for i := 0; len(keys) < len(masters) && i < mostCanaryTags; i++ {
		take(r.keys.canary(strconv.Itoa(i), r.node))
	}
	return keys
}

// settle gives an error to those users found without a socket of whom that cannot be believed,
// because a master has gone back. It asks the masters of their keys, after the answer: the next
// round may be a second away.
func (r *Redis) settle(ctx context.Context, keys []string, found []bridge.Located) {
	known := make(map[string]error) // by master
	for i := range found {
		at := &found[i]
		if len(at.Sockets) > 0 || at.Err != nil {
			continue
		}
		master, addr := (*redis.Client)(nil), ""
		switch client := r.client.(type) {
		case *redis.Client:
			master = client
		case *redis.ClusterClient:
			owner, err := client.MasterForKey(ctx, keys[i])
			if err != nil {
				at.Err = fmt.Errorf("%w: %w", bridge.ErrUnavailable, err)
				continue
			}
			master, addr = owner, owner.Options().Addr
		}
		err, asked := known[addr]
		if !asked {
			err = r.settled(ctx, master, addr)
			known[addr] = err
		}
		at.Err = err
	}
}

// settled returns errUnsettled when a master has gone back.
func (r *Redis) settled(ctx context.Context, master *redis.Client, addr string) error {
	cs := r.canaries
	if at := cs.noticed.Load(); at != nil && time.Since(*at) < unsettledFor {
		return errUnsettled
	}
	for {
		now, rounds := cs.now(addr)
		switch {
		case rounds == 0:
			return nil // this program registers no sockets, or has just started
		case now.left == "":
			return errUnsettled
		}
		same, _, err := now.ask(ctx, master, "")
		if err != nil {
			return unavailable(ctx, err)
		}
		if same {
			return nil
		}
		if again, _ := cs.now(addr); again == now {
			return errUnsettled
		} // a round has just replaced the value
	}
}

// now is what is known of a master at this moment.
func (cs *canaries) now(addr string) (c canary, rounds int) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if known := cs.masters[addr]; known != nil {
		c = *known
	}
	return c, cs.rounds
}

func newCanaries() *canaries {
	return &canaries{masters: make(map[string]*canary), random: rand.Text() + "."}
}
