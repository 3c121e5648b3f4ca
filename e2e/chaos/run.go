package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// scale is how much there is of everything.
type scale struct {
	stock, polling, raw int            // pages that are there from the start
	late, inbox         int            // pages that come during the fault, and after it
	users               int            // of the pages that are there
	rate                int            // messages a second
	asking              uint64         // see publishers
	unit                time.Duration  // that rows' lengths are multiples of
	stall               time.Duration  // of redis
	backlog             int            // messages
	away                time.Duration  // how long parts are cut off
	cutFrom, cutTo      time.Duration  // ages at which connections are cut
	patience            time.Duration  // a row's limit of silence is at least this: tests prove no speed
	quiet               time.Duration  // nothing may arrive for so long before what is missing is lost
	options             map[string]any // of the stock client
}

// scales are those of the rows on plain, and of those on other topologies.
type scales struct{ plain, wide scale }

// long is what `make chaos` runs.
var long = scales{
	plain: scale{
		stock: 200, raw: 200, users: 250, rate: 1000, unit: 5 * time.Second, stall: 8 * time.Second,
		cutFrom: 2 * time.Second, cutTo: 10 * time.Second,
		quiet: 12 * time.Second, // the stock client waits up to 7.5 s between two tries to come back
	},
	wide: scale{
		stock: 24, polling: 6, raw: 30, late: 20, inbox: 20, users: 40, rate: 250, asking: 4, backlog: 300_000,
		unit: 3 * time.Second, away: 30 * time.Second, quiet: 12 * time.Second,
	},
}

// short is what the tests run. Its clients come back sooner than by default.
var short = scales{
	plain: scale{
		stock: 20, raw: 20, users: 25, rate: 200, unit: 1500 * time.Millisecond, stall: 8 * time.Second,
		cutFrom: 500 * time.Millisecond, cutTo: 3 * time.Second,
		quiet: 6 * time.Second, options: hasty,
	},
	wide: scale{
		stock: 10, polling: 2, raw: 12, late: 8, inbox: 8, users: 16, rate: 200, asking: 4, backlog: 30_000,
		unit: 1500 * time.Millisecond, away: 12 * time.Second, patience: mostSilence, quiet: 6 * time.Second, options: hasty,
	},
}

var hasty = map[string]any{"reconnectionDelay": 100, "reconnectionDelayMax": 1000}

// run is one row in progress.
type run struct {
	*cluster
	row        *row
	bin        binaries
	scale      scale
	js         jetstream.JetStream
	pages      *pages
	publishers *publishers
	truth      *truth
	watch      *watch
	marks      []mark
	since      time.Time // silence counts from then on; zero: from the start
	ended      time.Time // publishers stopped
	breaches   []string  // that the fault has found
}

// breach notes something that must not be.
func (r *run) breach(format string, args ...any) {
	r.breaches = append(r.breaches, fmt.Sprintf(format, args...))
}

// held has a fault done while no message is published and everything that was published is known.
// What the stream lacks afterwards was removed by the fault: a gap that is told from then on accounts
// for it, also one that is told before the fault has returned.
func (r *run) held(ctx context.Context, fault func() error) error {
	release, err := r.publishers.hold()
	defer release()
	if err == nil {
		err = r.truth.rescan(ctx, time.Now())
	}
	began := time.Now()
	if err == nil {
		err = fault()
	}
	if err == nil {
		err = r.truth.rescan(ctx, began)
	}
	return err
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
func perform(ctx context.Context, row *row, all scales, bin binaries, dir string) (*result, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	s := all.plain
	if row.on.name != plain.name {
		s = all.wide
	}
	if row.load != nil {
		s = row.load(s)
	}
	c, err := row.on.start(dir, bin, row)
	defer c.kill()
	if err != nil {
		return nil, err
	}
	var addrs []string
	for _, n := range c.bridges {
		addrs = append(addrs, n.addr)
	}
	if c.balancer, err = openBalancer(addrs); err != nil {
		return nil, err
	}
	nc, js, err := connect(c.natsURL)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	p, err := openPages(dir, bin.modules, c.balancer, s)
	defer p.close()
	if err != nil {
		return nil, err
	}
	if row.asked > 0 {
		asking, stop := context.WithCancel(ctx)
		defer stop()
		c.balancer.ask(asking, row.asked)
	}
	r := &run{cluster: c, row: row, bin: bin, scale: s, js: js, pages: p, truth: &truth{js: js}}
	r.publishers = &publishers{
		nc: nc, js: js, url: "http://" + c.balancer.addr() + "/sendPayload", users: s.users + s.late + s.inbox, poison: row.poison, asking: s.asking,
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
	var err error
	r.watch, err = startWatch(r.dir, r.bin, r.bridges)
	defer r.watch.stop()
	if err != nil {
		return err
	}
	r.publishers.start(publishing, r.scale.rate)
	end := time.After(time.Duration(r.row.during) * r.scale.unit)
	err = r.pause(ctx, r.scale.unit)
	if err == nil {
		err = r.breakAndMend(ctx)
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
	r.ended = time.Now()
	return errors.Join(err, r.publishers.wait())
}

// breakAndMend does the row's fault. The late pages come in its first seconds, the others
// after it.
func (r *run) breakAndMend(ctx context.Context) error {
	over, cancel := context.WithCancel(ctx)
	var coming sync.WaitGroup
	coming.Go(func() { r.pages.comeWithin(over, r.pages.late, 2*r.scale.unit) })
	err := r.row.fault(ctx, r)
	cancel()
	coming.Wait()
	r.pages.comeWithin(ctx, r.pages.inbox, r.scale.unit)
	return err
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
	res := a.judge(reports, r.since, r.ended)
	r.judgeRow(res)
	res.film = &film{reports: reports, account: a, marks: r.marks}
	dead, err := deadLetters(ctx, r.js)
	if err != nil {
		return nil, err
	}
	a.judgeDead(dead, res)
	res.said = append(r.watch.said(), told(reports)...)
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

// told is the error events that pages were sent, but for gaps.
func told(reports []report) []string {
	counts := make(map[string]int)
	for _, p := range reports {
		for kind, n := range p.Errors {
			counts[kind] += n
		}
	}
	if len(counts) == 0 {
		return nil
	}
	return []string{"pages: " + tally(counts)}
}

// judgeRow holds the result against what the row itself allows.
func (r *run) judgeRow(res *result) {
	for _, b := range r.breaches {
		res.breach("%s", b)
	}
	if limit := max(r.row.silence, r.scale.patience); r.row.silence > 0 && res.silence > limit {
		res.breach("%s got nothing for %v, %v is the limit", res.silent, res.silence, limit)
	}
	if res.denied > 0 && !r.row.absent {
		res.breach("%d callers were told that a user is away who was connected", res.denied)
	}
}

// lateness is how long after the last message that is owed one too many is waited for.
const lateness = time.Second

// settle waits for the pages and returns the account.
func (r *run) settle(ctx context.Context) (*account, error) {
	if err := r.truth.rescan(ctx, time.Now()); err != nil {
		return nil, err
	}
	var a *account
	moved, before := time.Now(), 0
	for {
		if err := r.truth.update(ctx); err != nil {
			return nil, err
		}
		if a == nil || len(a.entries) != len(r.truth.entries) {
			a = newAccount(r.truth.entries, r.publishers.answers, r.publishers.refused...)
		}
		counts, err := r.pages.counts()
		if err != nil {
			return nil, err
		}
		total, missing := 0, false
		for page, n := range counts {
			total += n
			missing = missing || n < a.owed(r.pages.users[page])
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
