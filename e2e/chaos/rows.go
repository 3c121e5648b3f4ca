package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/codewar/socketbridge/e2e/procs"
)

// row is one way of breaking things.
type row struct {
	name   string
	on     topology
	env    []string // of the bridges, beside the usual
	redis  []string // arguments of redis-server
	poison bool
	load   func(scale) scale           // nil: as usual
	pad    func(s scale, user int) int // bytes added to a user's messages; nil: none
	// during is how long publishers publish, times the scale's unit.
	during int
	twin   bool          // one more bridge, not started, with the node id of the second
	asked  time.Duration // how often the balancer asks each bridge whether it is ready; 0: never
	// silence is how long a page may get nothing while the stream has something for it; 0: not
	// judged, because nothing can reach it.
	silence time.Duration
	absent  bool // a user who is connected may be told to be away: its node cannot be reached
	ci      bool // the tests run it too
	// fault breaks things, some time after the publishers have begun.
	fault func(ctx context.Context, r *run) error
}

// rows are all of them.
func rows() []*row {
	return slices.Concat(plainRows(), bridgeRows(), networkRows(), redisRows(), natsRows())
}

// plainRows are those on one nats-server and one redis-server.
func plainRows() []*row {
	all := []*row{
		{name: "leader killed", during: 5, fault: killLeader},
		{name: "holder killed", during: 4, fault: killHolder},
		{name: "rolling restart", during: 5, fault: rollingRestart},
		{name: "redis restarted", during: 5, redis: []string{"--appendonly", "yes", "--appendfsync", "always"}, fault: restartRedis},
		{name: "redis emptied", during: 5, fault: emptyRedis},
		{name: "redis stalled", during: 5, fault: stallRedis},
		{name: "nats restarted", during: 5, fault: restartNATS},
		{name: "connections cut", during: 14, fault: cutConnections},
		{name: "pages not reading", during: 6, pad: padIdle, env: []string{"SOCKETS_MAX_PENDING=1048576", "SOCKETS_WRITE_TIMEOUT=1s", "HISTORY_MAX_PER_USER=20"}, fault: stopReading},
		{name: "poison", during: 3, poison: true, fault: func(context.Context, *run) error { return nil }},
		{name: "stream made anew", during: 5, fault: remakeStream},
		{name: "all at once", during: 6, redis: []string{"--appendonly", "yes", "--appendfsync", "always"}, fault: breakAll},
	}
	for _, r := range all {
		r.on, r.ci = plain, true
		r.absent = true // with NATS or Redis away, some callers are told so still
	}
	return all
}

// killLeader: SIGKILL, and it comes back while the other one is not leading yet.
func killLeader(ctx context.Context, r *run) error {
	leader, _, err := r.leader()
	if err != nil {
		return err
	}
	leader.Kill()
	if err := r.pause(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := leader.Start(); err != nil {
		return err
	}
	return leader.ready()
}

// killHolder: SIGKILL of a node that only holds sockets.
func killHolder(ctx context.Context, r *run) error {
	_, holder, err := r.leader()
	if err != nil {
		return err
	}
	holder.Kill()
	if err := r.pause(ctx, 2*time.Second); err != nil {
		return err
	}
	if err := holder.Start(); err != nil {
		return err
	}
	return holder.ready()
}

// rollingRestart: SIGTERM of each node in its turn, as a deploy does it.
func rollingRestart(ctx context.Context, r *run) error {
	for _, n := range r.bridges {
		r.mark("SIGTERM")
		if err := n.Stop(); err != nil {
			return err
		}
		r.mark("ended")
		if err := n.Start(); err != nil {
			return err
		}
		if err := n.ready(); err != nil {
			return err
		}
		r.mark("ready")
		if err := r.pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// restartRedis: killed, away for two seconds, back with its data.
func restartRedis(ctx context.Context, r *run) error {
	r.redis.all[0].Kill()
	if err := r.pause(ctx, 2*time.Second); err != nil {
		return err
	}
	return r.redis.all[0].Start()
}

// emptyRedis: killed, away for two seconds, back without data. A part of the
// pages loses its connection meanwhile, and with it comes to a store that knows
// neither it nor its history.
func emptyRedis(ctx context.Context, r *run) error {
	r.redis.all[0].Kill()
	if err := os.RemoveAll(procs.RedisDir(r.dir)); err != nil {
		return fmt.Errorf("remove redis's data: %w", err)
	}
	if err := os.MkdirAll(procs.RedisDir(r.dir), 0o700); err != nil {
		return fmt.Errorf("make redis's directory: %w", err)
	}
	if err := r.pause(ctx, 2*time.Second); err != nil {
		return err
	}
	r.balancer.cutNow(0.3)
	return r.redis.all[0].Start()
}

// stallRedis: it neither answers nor refuses for longer than every lease but the nodes'.
func stallRedis(ctx context.Context, r *run) error {
	if err := r.redis.all[0].Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := r.pause(ctx, r.scale.stall)
	if err := r.redis.all[0].Signal(syscall.SIGCONT); err != nil {
		return err
	}
	return err
}

// restartNATS: once as an operator does, once as a crash does.
func restartNATS(ctx context.Context, r *run) error {
	if err := r.nats[0].Signal(syscall.SIGTERM); err != nil { // its exit status is 1
		return err
	}
	<-r.nats[0].Done()
	if err := r.nats[0].Start(); err != nil {
		return err
	}
	if err := r.pause(ctx, 2*r.scale.unit); err != nil {
		return err
	}
	r.nats[0].Kill()
	if err := r.pause(ctx, time.Second); err != nil {
		return err
	}
	return r.nats[0].Start()
}

// cutConnections cuts every connection at a random age, again and again.
func cutConnections(ctx context.Context, r *run) error {
	r.balancer.cutEach(r.scale.cutFrom, r.scale.cutTo)
	defer r.balancer.cutEach(0, 0)
	return r.pause(ctx, 12*r.scale.unit)
}

// idlers is how many pages do not read: five in a hundred, all raw ones, since the
// stock client cannot be stopped from reading.
func idlers(s scale) int { return max((s.stock+s.raw)/20, 2) }

// idle is how long the longest of them does not read.
func idle(s scale) time.Duration { return 4 * s.unit }

// padIdle makes the messages of users whose page will not read so large that they
// add up to more than the kernel holds for it, some 4 MB.
func padIdle(s scale, user int) int {
	for i := range idlers(s) {
		if (s.stock+i)%s.users == user {
			messages := idle(s).Seconds() * float64(s.rate) / float64(s.users)
			return int((10 << 20) / messages)
		}
	}
	return 0
}

// stopReading: every other one for less than the history holds, and the rest for more.
func stopReading(ctx context.Context, r *run) error {
	for i, p := range r.pages.raw[:idlers(r.scale)] {
		if i%2 == 0 {
			p.doze(r.scale.unit + rand.N(r.scale.unit))
		} else {
			p.doze(idle(r.scale))
		}
	}
	return r.pause(ctx, idle(r.scale))
}

// remakeStream: deleted twice. The first time the bridge has to make it anew, the
// second time somebody else does at once.
func remakeStream(ctx context.Context, r *run) error {
	stream, err := r.js.Stream(ctx, "CODEWAR")
	if err != nil {
		return fmt.Errorf("look at the stream: %w", err)
	}
	config := stream.CachedInfo().Config
	for _, remake := range []bool{false, true} {
		err := r.held(ctx, func() error {
			err := r.js.DeleteStream(ctx, "CODEWAR")
			if err == nil && remake {
				_, err = r.js.CreateStream(ctx, config)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("make the stream anew: %w", err)
		}
		if err := r.pause(ctx, 2*r.scale.unit); err != nil {
			return err
		}
	}
	return nil
}

// breakAll: connections are cut all the time while the leader, Redis, NATS and the
// other node are killed, each before the one before it is well again.
func breakAll(ctx context.Context, r *run) error {
	r.balancer.cutEach(r.scale.cutFrom, r.scale.cutTo)
	defer r.balancer.cutEach(0, 0)
	leader, other, err := r.leader()
	if err != nil {
		return err
	}
	for _, p := range []*procs.Process{leader.Process, r.redis.all[0].Process, r.nats[0].Process, other.Process} {
		p.Kill()
		if err := r.pause(ctx, time.Second); err != nil {
			return err
		}
		if err := p.Start(); err != nil {
			return err
		}
	}
	for _, n := range []*bridgeNode{leader, other} {
		if err := n.ready(); err != nil {
			return err
		}
	}
	return r.pause(ctx, 2*r.scale.unit)
}
