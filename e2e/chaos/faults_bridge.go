package main

import (
	"context"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/codewar/socketbridge/e2e/procs"
)

// bridgeRows are faults of the bridges' own processes.
func bridgeRows() []*row {
	return []*row{
		{name: "leader killed, pages elsewhere", on: wide, asked: asked, ci: true, during: 4, silence: time.Second, fault: killEmptyLeader},
		{name: "leader killed at load, pages elsewhere", on: loaded, asked: asked, load: atLoad, during: 4, silence: time.Second, fault: killEmptyLeader},
		{name: "leader stopped, pages elsewhere", on: wide, asked: asked, silence: 3 * time.Second, fault: stopEmptyLeader},
		{name: "rolling restart of four", on: full, asked: asked, silence: 5 * time.Second, fault: rollingRestart},
		{name: "one node id twice", on: wide, asked: asked, twin: true, silence: mostSilence, fault: startTwin},
		{name: "start behind a backlog", on: wide, asked: asked, fault: startBehind},
	}
}

// mostSilence is the longest that a page may get nothing while a bridge, a quorum of NATS
// and the Redis masters reach each other.
const mostSilence = 10 * time.Second

// asked is how often the balancer of a larger topology asks for readiness.
const asked = time.Second

// atLoad is as many pages, nearly each the only one of its user, and messages as two cores carry
// beside everything else.
func atLoad(s scale) scale {
	s.raw, s.users, s.rate = 2000, 2000, 2000
	return s
}

// emptyLeader is the leader, and no page is on it any more.
func (r *run) emptyLeader(ctx context.Context) (*bridgeNode, error) {
	leader, _, err := r.leader()
	if err != nil {
		return nil, err
	}
	r.balancer.shun(leader.addr)
	err = r.pause(ctx, 2*r.scale.unit)
	r.since = time.Now() // the pages that were on it had to reconnect, which is not this row's fault
	return leader, err
}

func killEmptyLeader(ctx context.Context, r *run) error {
	leader, err := r.emptyLeader(ctx)
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

// stopEmptyLeader: SIGSTOP, so it neither answers nor refuses, and comes back as if nothing had
// happened.
func stopEmptyLeader(ctx context.Context, r *run) error {
	leader, err := r.emptyLeader(ctx)
	if err != nil {
		return err
	}
	if err := leader.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err = r.pause(ctx, r.scale.away/2)
	if err := leader.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	return err
}

// startTwin: another process with the name of a bridge that lives.
func startTwin(ctx context.Context, r *run) error {
	if err := r.bridges[len(r.bridges)-1].Start(); err != nil {
		return err
	}
	return r.pause(ctx, r.scale.away/2)
}

// readyWithin is how long a bridge may take from its start until it is ready, whatever waits.
const readyWithin = 5 * time.Second

// startBehind: all bridges stop, messages pile up, all bridges start.
func startBehind(ctx context.Context, r *run) error {
	for _, n := range r.bridges {
		if err := n.Stop(); err != nil {
			return err
		}
	}
	if err := r.publishers.pile(ctx, r.scale.backlog); err != nil {
		return err
	}
	began := time.Now()
	for _, n := range r.bridges {
		if err := n.Start(); err != nil {
			return err
		}
	}
	for _, n := range r.bridges {
		if err := n.ready(); err != nil {
			return err
		}
		if took := time.Since(began); took > readyWithin {
			r.breach("%s was ready %v after its start, %v is the limit", n.Name, took.Round(time.Millisecond), readyWithin)
		}
	}
	return nil
}

// redisCLI runs the command-line program of Redis.
func redisCLI(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "redis-cli", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("redis-cli %v: %w\n%s", args, err, out)
	}
	return nil
}

// until waits for something that takes a while to come about.
func until(what string, state func() string) error {
	return procs.WaitFor(what, procs.StartLimit, state)
}
