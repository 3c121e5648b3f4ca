package main

import (
	"context"
	"time"
)

// Ways to part two processes.
var (
	apart = traffic{mute: true, deaf: true}
	deaf  = traffic{deaf: true}
	mute  = traffic{mute: true}
	reset = traffic{cut: true}
	far   = traffic{delay: 100 * time.Millisecond}
)

// networkRows are faults of the ways between bridges, NATS and Redis.
func networkRows() (rows []*row) {
	for _, r := range []row{
		{name: "leader off nats", ci: true, fault: part(leading, "nats", apart)},
		{name: "leader deaf to nats", fault: part(leading, "nats", deaf)},
		{name: "leader mute to nats", fault: part(leading, "nats", mute)},
		{name: "leader refused by nats", fault: part(leading, "nats", reset)},
		{name: "follower off nats", fault: part(following, "nats", apart)},
		{name: "follower deaf to nats", fault: part(following, "nats", deaf)},
		{name: "follower mute to nats", fault: part(following, "nats", mute)},
		{name: "leader off redis", fault: part(leading, "redis", apart)},
		{name: "follower off redis", fault: part(following, "redis", apart)},
		{name: "follower deaf to redis", fault: part(following, "redis", deaf)},
		{name: "follower mute to redis", fault: part(following, "redis", mute)},
		{name: "follower refused by redis", fault: part(following, "redis", reset)},
		{name: "redis away", fault: part(everyone, "redis", apart)},
		{name: "redis far", fault: part(everyone, "redis", far)},
	} {
		r.on, r.asked, r.silence = wide, asked, mostSilence
		// Nobody can reach the sockets of a node that is cut off, nor know that it has any.
		r.absent = true
		rows = append(rows, &r)
	}
	return rows
}

// Whom a fault strikes: the name, or the beginning of the names, of bridges.
func leading(r *run) (string, error) {
	leader, _, err := r.leader()
	if err != nil {
		return "", err
	}
	return leader.Name, nil
}

func following(r *run) (string, error) {
	_, other, err := r.leader()
	if err != nil {
		return "", err
	}
	return other.Name, nil
}

func everyone(*run) (string, error) { return "bridge", nil }

// part does something to the traffic between bridges and servers, for a while.
func part(whom func(*run) (string, error), servers string, t traffic) func(context.Context, *run) error {
	return func(ctx context.Context, r *run) error {
		from, err := whom(r)
		if err != nil {
			return err
		}
		return r.part(ctx, link{from, servers}, t)
	}
}

func (r *run) part(ctx context.Context, l link, t traffic) error {
	r.network.fault(l, t)
	defer r.network.heal(l)
	return r.pause(ctx, r.scale.away)
}
