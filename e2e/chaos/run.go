package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// scale is how much there is of everything.
type scale struct {
	stock, raw, users int
	rate              int            // messages a second
	unit              time.Duration  // that rows' lengths are multiples of
	stall             time.Duration  // of redis
	cutFrom, cutTo    time.Duration  // ages at which connections are cut
	quiet             time.Duration  // nothing may arrive for so long before what is missing is lost
	options           map[string]any // of the stock client
}

// long is what `make chaos` runs.
var long = scale{
	stock: 200, raw: 200, users: 250, rate: 1000, unit: 5 * time.Second, stall: 8 * time.Second,
	cutFrom: 2 * time.Second, cutTo: 10 * time.Second,
	quiet: 12 * time.Second, // the stock client waits up to 7.5 s between two tries to come back
}

// short is what the tests run. Its clients come back sooner than by default.
var short = scale{
	stock: 20, raw: 20, users: 25, rate: 200, unit: 1500 * time.Millisecond, stall: 8 * time.Second,
	cutFrom: 500 * time.Millisecond, cutTo: 3 * time.Second,
	quiet:   6 * time.Second,
	options: map[string]any{"reconnectionDelay": 100, "reconnectionDelayMax": 1000},
}

// run is one row in progress.
type run struct {
	*cluster
	row        *row
	scale      scale
	js         jetstream.JetStream
	pages      *pages
	publishers *publishers
	truth      *truth
	marks      []mark
}

// pause waits.
func (r *run) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// perform does one row. The logs of its processes are in dir.
func perform(ctx context.Context, row *row, s scale, bin binaries, dir string) (*result, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	c, err := startCluster(dir, bin, row)
	defer c.kill()
	if err != nil {
		return nil, err
	}
	nc, js, err := connect(c.natsURL)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	p, err := openPages(dir, bin.modules, c.balancer.addr(), s)
	defer p.close()
	if err != nil {
		return nil, err
	}
	if row.asked > 0 {
		asking, stop := context.WithCancel(ctx)
		defer stop()
		c.balancer.ask(asking, row.asked)
	}
	r := &run{cluster: c, row: row, scale: s, js: js, pages: p, truth: &truth{js: js}}
	r.publishers = &publishers{
		nc: nc, js: js, url: "http://" + c.balancer.addr() + "/sendPayload", users: s.users, poison: row.poison,
		pad: func(user int) int {
			if row.pad == nil {
				return 0
			}
			return row.pad(s, user)
		},
	}
	if err := r.publish(ctx); err != nil {
		return nil, err
	}
	return r.result(ctx)
}

// publish runs the publishers and, meanwhile, the row's fault.
func (r *run) publish(ctx context.Context) error {
	publishing, stop := context.WithCancel(ctx)
	defer stop()
	r.publishers.start(publishing, r.scale.rate)
	end := time.After(time.Duration(r.row.during) * r.scale.unit)
	err := r.pause(ctx, r.scale.unit)
	if err == nil {
		err = r.row.fault(ctx, r)
	}
	if err == nil {
		err = r.pause(ctx, r.scale.unit) // at least so much after the fault
	}
	if err == nil {
		select {
		case <-end:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	stop()
	return errors.Join(err, r.publishers.wait())
}

// result waits until everybody has what is owed, or nobody gets any more, and
// holds what was seen against what was published.
func (r *run) result(ctx context.Context) (*result, error) {
	a, err := r.settle(ctx)
	if err != nil {
		return nil, err
	}
	reports, err := r.pages.reports()
	if err != nil {
		return nil, err
	}
	res := a.judge(reports)
	res.film = &film{reports: reports, account: a, marks: r.marks}
	dead, err := deadLetters(ctx, r.js)
	if err != nil {
		return nil, err
	}
	a.judgeDead(dead, res)
	for _, n := range r.bridges {
		if err := n.balanced(); err != nil {
			res.breach("%v", err)
		}
	}
	if err := r.stop(); err != nil {
		res.breach("%v", err)
	}
	return res, nil
}

// lateness is how long after the last message that is owed one too many is waited for.
const lateness = time.Second

// settle waits for the pages and returns the account.
func (r *run) settle(ctx context.Context) (*account, error) {
	var a *account
	moved, before := time.Now(), 0
	for {
		if err := r.truth.update(ctx); err != nil {
			return nil, err
		}
		if a == nil || len(a.at) != len(r.truth.entries) {
			a = newAccount(r.truth.entries, r.publishers.answers)
		}
		counts, err := r.pages.counts()
		if err != nil {
			return nil, err
		}
		total, missing := 0, false
		for page, n := range counts {
			total += n
			missing = missing || n < a.owed(r.pages.user(page))
		}
		if total != before {
			moved, before = time.Now(), total
		}
		since := time.Since(moved)
		if !missing && since > lateness || since > r.scale.quiet {
			return a, nil
		}
		if err := r.pause(ctx, 200*time.Millisecond); err != nil {
			return nil, err
		}
	}
}
