package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// storm is what was measured while many browsers connected at once, and others were served.
type storm struct {
	asked, failed int
	took          time.Duration // from the first connect to the last acknowledgement
	connects      latencies     // from each connect to its acknowledged setUserId
	background    latencies     // of the others' messages, meanwhile
	cpu           cpu           // for both
}

// stormTime is how long a storm takes, about: for its profile.
const stormTime = 2 * time.Second

// threads are what a storm has beside those of the process.
const threads = 4

// runStorm does one repetition: a few users are sent messages at the fixed rate while the
// storm comes.
func runStorm(ctx context.Context, l *lab, server string) (*storm, error) {
	// Publisher, readers and connects each have a thread that need not wait for another's: who is
	// next is for the system to say, as if they were on machines of their own.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + threads))
	t, err := l.open(server, fewUsers, smallBody)
	defer t.close()
	if err != nil {
		return nil, err
	}
	if err := t.swarm.connectAll(ctx, fewUsers); err != nil {
		return nil, err
	}
	ld, err := t.dial(byJetStream.of(server))
	if err != nil {
		return nil, err
	}
	defer ld.close()
	publishing, stop := context.WithCancel(ctx)
	defer stop()
	published := make(chan error, 1)
	go func() { published <- ld.pace(publishing, rate) }()
	if err := pause(ctx, l.scale.warm); err != nil {
		stop()
		return nil, errors.Join(err, <-published)
	}
	// A swarm of its own: those who are measured must not wait for our own work for others.
	crowd, err := newSwarm(t.port, fewUsers)
	if err != nil {
		stop()
		return nil, errors.Join(err, <-published)
	}
	defer crowd.close()
	t.swarm.mark()
	before, err := t.cpu()
	if err != nil {
		stop()
		return nil, errors.Join(err, <-published)
	}
	began := now()
	err = l.profileDuring(ctx, t, "connect", stormTime, func(ctx context.Context) error { return crowd.connect(ctx, l.scale.storm) })(ctx)
	after, unknown := t.cpu()
	err = errors.Join(err, unknown)
	st := &storm{asked: l.scale.storm, cpu: after.minus(before)}
	st.background, _ = t.swarm.since()
	var last time.Duration
	st.connects, st.failed, last = crowd.connected()
	st.took = last - began
	stop()
	if err := errors.Join(err, <-published); err != nil {
		return nil, fmt.Errorf("storm: %w", err)
	}
	if err := ld.settle(ctx); err != nil {
		return nil, err
	}
	return st, errors.Join(t.verdict(), crowd.verdict(nil))
}

// perSecond counts the connects that succeeded, over the time of all.
func (s *storm) perSecond() float64 { return float64(s.asked-s.failed) / s.took.Seconds() }
