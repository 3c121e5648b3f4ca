package main

import (
	"context"
	"fmt"
	"time"
)

// rest is what connections cost that do nothing but answer pings.
type rest struct {
	connections int
	before      memory
	after       memory
	goroutines  float64 // by connection; negative: the server does not say
	busy        float64 // of a core, between 0 and 1
}

// pingInterval is in which each connection is pinged once, in both servers.
const pingInterval = 25 * time.Second

// runIdle does one repetition. What the server says of connections that failed is an error:
// they would make the others look cheap.
func runIdle(ctx context.Context, l *lab, server string) (*rest, error) {
	t, err := l.open(server, 0, smallBody)
	defer t.close()
	if err != nil {
		return nil, err
	}
	r := &rest{connections: l.scale.idle, goroutines: -1}
	few := 0
	if r.before, err = memoryOf(t.server.PID()); err == nil && t.ops != "" {
		few, err = t.goroutines()
	}
	if err != nil {
		return nil, err
	}
	if err := t.swarm.connectAll(ctx, r.connections); err != nil {
		return nil, err
	}
	if err := pause(ctx, 2*time.Second); err != nil { // what connecting has begun comes to its end
		return nil, err
	}
	before, err := t.cpu()
	if err != nil {
		return nil, err
	}
	idle := func(ctx context.Context) error { return pause(ctx, l.scale.rest) }
	if err := l.profileDuring(ctx, t, "idle", l.scale.rest, idle)(ctx); err != nil {
		return nil, err
	}
	after, err := t.cpu()
	if err != nil {
		return nil, err
	}
	r.busy = float64(after.server-before.server) / float64(l.scale.rest)
	if r.after, err = memoryOf(t.server.PID()); err != nil {
		return nil, err
	}
	if t.ops != "" {
		many, err := t.goroutines()
		if err != nil {
			return nil, err
		}
		r.goroutines = float64(many-few) / float64(r.connections)
	}
	if err := t.verdict(); err != nil {
		return nil, fmt.Errorf("idle: %w", err)
	}
	return r, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *rest) resident() float64 {
	return float64(r.after.resident-r.before.resident) / 1024 / float64(r.connections)
}

func (r *rest) proportional() float64 {
	return float64(r.after.proportional-r.before.proportional) / 1024 / float64(r.connections)
}
