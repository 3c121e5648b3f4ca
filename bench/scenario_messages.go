package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// messages is a row of the table of messages: how they are published, to how many, how large.
type messages struct {
	name  string
	way   way
	users int
	size  int
	paced bool // measured at the fixed rate too
	zip   bool // browsers take compressed messages
}

// messageRows are the scenarios that carry messages.
func messageRows(s scale) []messages {
	rows := []messages{
		{"durable", byJetStream, fewUsers, smallBody, true, false},
		{"core", byCore, fewUsers, smallBody, true, false},
		{"http", byHTTP, fewUsers, smallBody, true, false},
	}
	for _, n := range s.users {
		rows = append(rows, messages{"users", byJetStream, n, smallBody, false, false})
	}
	for _, size := range []int{200, 2000, 20_000} {
		rows = append(rows,
			messages{"payload", byJetStream, fewUsers, size, false, false},
			messages{"payload-deflate", byJetStream, fewUsers, size, false, true})
	}
	return rows
}

func (m messages) title() string { return fmt.Sprintf("%s %d users %d B", m.name, m.users, m.size) }

// run does one repetition for one server. Flooded and paced are nil when they were not measured.
func (m messages) run(ctx context.Context, l *lab, server string) (flooded, paced *sample, err error) {
	t, err := l.open(server, m.users, m.size)
	defer t.close()
	if err != nil {
		return nil, nil, err
	}
	if m.zip {
		t.swarm.zip = newInflater()
	}
	if err := t.swarm.connectAll(ctx, m.users); err != nil {
		return nil, nil, err
	}
	ld, err := t.dial(m.way.of(server))
	if err != nil {
		return nil, nil, err
	}
	defer ld.close()
	if _, err := t.measure(ctx, ld, l.scale.warm, ld.flood); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("warm up: %w", err), t.verdict())
	}
	flooded, err = t.measure(ctx, ld, l.scale.flood, l.profileDuring(ctx, t, m.title(), l.scale.flood, ld.flood))
	if err == nil && m.paced {
		paced, err = sparing(func() (*sample, error) {
			return l.watched(func() (*sample, error) {
				return t.measure(ctx, ld, l.scale.pace, func(ctx context.Context) error { return ld.pace(ctx, rate) })
			})
		})
	}
	return flooded, paced, errors.Join(err, t.verdict())
}

// perSecond is the throughput.
func (s *sample) perSecond() float64 { return float64(s.messages) / s.took.Seconds() }

// each is a cost by message, in microseconds.
func (s *sample) each(d time.Duration) float64 {
	return float64(d) / float64(time.Microsecond) / float64(s.messages)
}

// disturbed is the share of the machine that others had meanwhile, between 0 and 1.
func (s *sample) disturbed() float64 {
	return float64(s.cpu.others()) / float64(s.over) / float64(runtime.NumCPU())
}
