package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// redisRows are faults that lose something of what Redis has, or its time.
func redisRows() []*row {
	const outage = 3 * time.Second // a page may get nothing for so long
	return []*row{
		{name: "redis back from a snapshot", on: wide, asked: asked, silence: 2 * outage, ci: true, during: 6, fault: restoreSnapshot},
		{name: "valkey back from a snapshot", on: valkey, asked: asked, silence: 2 * outage, during: 6, fault: restoreSnapshot},
		{name: "redis flushed", on: wide, asked: asked, silence: outage, during: 6, fault: flushRedis},
		{name: "redis' clock back", on: clocked, asked: asked, silence: outage, during: 6, fault: turnClockBack},
		{name: "sentinel failover", on: sentinels, asked: asked, silence: outage, ci: true, during: 8, fault: failOver},
		{name: "sentinel master killed", on: sentinels, asked: asked, silence: mostSilence, during: 8, fault: killMaster},
		{name: "cluster failover, replica behind", on: sharded, asked: asked, silence: mostSilence, during: 8, fault: failOverBehind},
		{name: "cluster master away", on: sharded, asked: asked, silence: mostSilence, fault: loseOneMaster},
		{name: "cluster resharded", on: sharded, asked: asked, silence: outage, fault: reshard},
	}
}

// restoreSnapshot: killed a second after it saved, and back with what it saved.
func restoreSnapshot(ctx context.Context, r *run) error {
	s := r.redis.all[0]
	if err := s.client.Save(ctx).Err(); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	// New pages and some that lose their connection are registered after it.
	r.balancer.cutNow(0.3)
	if err := r.pause(ctx, time.Second); err != nil {
		return err
	}
	s.Kill()
	return s.start()
}

func flushRedis(ctx context.Context, r *run) error {
	return r.redis.all[0].client.FlushAll(ctx).Err()
}

// failOver: as an operator asks for it, with nothing killed and no replica behind.
func failOver(ctx context.Context, r *run) error {
	before, err := r.redis.master(ctx)
	if err != nil {
		return err
	}
	if err := r.redis.sentinels[0].client.Do(ctx, "SENTINEL", "FAILOVER", sentinelName).Err(); err != nil {
		return fmt.Errorf("fail over: %w", err)
	}
	return until("another Redis is the only master", func() string {
		if now := r.redis.masters(ctx); len(now) != 1 || now[0] == before {
			return fmt.Sprintf("%d masters", len(now))
		}
		return ""
	})
}

// killMaster: SIGKILL of the master, which comes back as a replica.
func killMaster(ctx context.Context, r *run) error {
	before, err := r.redis.master(ctx)
	if err != nil {
		return err
	}
	before.Kill()
	err = until("another Redis is master", func() string {
		if _, err := r.redis.master(ctx); err != nil {
			return err.Error()
		}
		return ""
	})
	if err != nil {
		return err
	}
	return before.start()
}

// failOverBehind: for two seconds nothing reaches the replica of a master, which is killed then.
func failOverBehind(ctx context.Context, r *run) error {
	master, err := r.redis.master(ctx)
	if err != nil {
		return err
	}
	replica, err := r.redis.replica(ctx, master)
	if err != nil {
		return err
	}
	l := link{replica.Name, master.Name}
	r.network.fault(l, deaf)
	defer r.network.heal(l)
	r.balancer.cutNow(0.3)
	if err := r.pause(ctx, 2*time.Second); err != nil {
		return err
	}
	master.Kill()
	if err := replica.client.Do(ctx, "CLUSTER", "FAILOVER", "TAKEOVER").Err(); err != nil {
		return fmt.Errorf("take over: %w", err)
	}
	if err := until("the replica is master", func() string {
		if now := role(ctx, replica); now != "master" {
			return "it is " + now
		}
		return ""
	}); err != nil {
		return err
	}
	if err := r.pause(ctx, r.scale.unit); err != nil {
		return err
	}
	return master.start()
}

// loseOneMaster: no bridge reaches one of the masters, which the others still do.
func loseOneMaster(ctx context.Context, r *run) error {
	master, err := r.redis.master(ctx)
	if err != nil {
		return err
	}
	return r.part(ctx, link{"bridge", master.Name}, apart)
}

// reshard: a part of one master's slots moves to another.
func reshard(ctx context.Context, r *run) error {
	masters := r.redis.masters(ctx)
	var ids []string
	for _, m := range masters {
		id, err := m.client.Do(ctx, "CLUSTER", "MYID").Text()
		if err != nil {
			return fmt.Errorf("ask for id: %w", err)
		}
		ids = append(ids, id)
	}
	const slots = "1000"
	return redisCLI(ctx, strings.Fields("--cluster reshard "+masters[0].addr+" --cluster-from "+ids[0]+
		" --cluster-to "+ids[1]+" --cluster-slots "+slots+" --cluster-yes")...)
}
