package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/codewar/socketbridge/internal/testutil/npm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	ours, err := runProgram(os.Args[1:])
	if !ours {
		err = run(ctx, os.Args[1:], os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	only     *regexp.Regexp
	servers  []string
	times    int
	quick    bool
	profiles string
	file     string
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("run", "", "run only the scenarios whose name matches: durable, core, http, users, payload, connect, idle, floor")
	server := flags.String("server", "", "measure only this one: bridge or peer")
	flags.IntVar(&o.times, "n", 1, "repetitions, whose median is shown")
	flags.BoolVar(&o.quick, "quick", false, "show that everything works; the figures are of no use")
	flags.StringVar(&o.profiles, "profile", "", "write CPU and allocation profiles of the bridge to this directory; taking them costs time")
	flags.StringVar(&o.file, "o", "", "write the tables to this file too")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.only, err = regexp.Compile(*only); err != nil {
		return o, fmt.Errorf("-run: %w", err)
	}
	switch o.servers = []string{bridge, peer}; {
	case *server == "":
	case slices.Contains(o.servers, *server):
		o.servers = []string{*server}
	default:
		return o, fmt.Errorf("-server: %q is neither %s nor %s", *server, bridge, peer)
	}
	if o.times < 1 {
		return o, errors.New("-n: at least 1")
	}
	return o, nil
}

// errFailed means that a measurement, which has said why, has failed.
var errFailed = errors.New("not everything could be measured")

// run measures what was asked for.
func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	files, err := raiseFiles()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bridge-bench-")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	l := &lab{dir: dir, profiles: o.profiles, scale: full.bound(files)}
	if o.quick {
		l.scale = quick.bound(files)
	}
	if l.programs, err = build(ctx, dir); err != nil {
		return err
	}
	if err := npm.Check(l.peer); err != nil && slices.Contains(o.servers, peer) {
		return fmt.Errorf("bench/peer: %w: run `npm ci` there first, or leave the peer out with -server bridge", err)
	}
	r := newResults()
	err = l.all(ctx, o, r, out)
	text := circumstances(ctx, l.programs)
	fmt.Fprintf(out, "\n%s", text)
	r.write(out)
	if err != nil {
		return fmt.Errorf("%w; logs are in %s", err, dir)
	}
	if o.file != "" {
		err = save(o.file, text, r)
	}
	return errors.Join(err, os.RemoveAll(dir))
}

func save(file, text string, r *results) error {
	f, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	_, err = fmt.Fprintf(f, "# Results\n\n%s, by `bench`; [how to read them](README.md).\n\n%s", time.Now().Format(time.DateOnly), text)
	r.write(f)
	return errors.Join(err, f.Close())
}

// all runs the scenarios. One that fails does not keep the others from running.
func (l *lab) all(ctx context.Context, o options, r *results, out io.Writer) error {
	var failed error
	for _, m := range messageRows(l.scale) {
		if !o.only.MatchString(m.name) {
			continue
		}
		paced := make(map[string][]*sample)
		flooded, err := repeat(ctx, o, out, m.title(), func(server string) (*sample, error) {
			f, p, err := m.run(ctx, l, server)
			if p != nil && err == nil {
				paced[server] = append(paced[server], p)
			}
			return f, err
		})
		failed = cmp.Or(err, failed)
		r.addMessages(m, "peak", flooded)
		if m.paced {
			r.addMessages(m, fmt.Sprintf("%d/s", rate), paced)
		}
	}
	if o.only.MatchString("connect") {
		storms, err := repeat(ctx, o, out, "connect", func(server string) (*storm, error) { return runStorm(ctx, l, server) })
		failed = cmp.Or(err, failed)
		r.addStorms(storms)
	}
	if o.only.MatchString("idle") {
		rests, err := repeat(ctx, o, out, "idle", func(server string) (*rest, error) { return runIdle(ctx, l, server) })
		failed = cmp.Or(err, failed)
		r.addRests(rests)
	}
	if o.only.MatchString("floor") {
		failed = cmp.Or(l.floors(ctx, o, r, out), failed)
	}
	return failed
}

// floors measures what the least costs here.
func (l *lab) floors(ctx context.Context, o options, r *results, out io.Writer) error {
	o.servers = []string{leastServer}
	relayed, failed := repeat(ctx, o, out, "floor: relays", func(string) (*floor, error) {
		return sparing(func() (*floor, error) { return runRelays(ctx, l) })
	})
	r.addFloor(fmt.Sprintf("%d relays, %d/s", relays, rate), relayed[leastServer])
	streamed, err := repeat(ctx, o, out, "floor: stream", func(string) (*floor, error) {
		return sparing(func() (*floor, error) { return runStream(ctx, l) })
	})
	failed = cmp.Or(failed, err)
	r.addFloor(fmt.Sprintf("JetStream alone, %d/s", rate), streamed[leastServer])
	echoed, err := repeat(ctx, o, out, "floor: echo", func(string) (*floor, error) { return runEcho(ctx, l) })
	r.addFloor(fmt.Sprintf("bare handler, %d callers", callers), echoed[leastServer])
	return cmp.Or(failed, err)
}

// repeat measures each server so many times, in turns, so that what else the machine does
// falls on both. What failed is left out and said, and makes the whole an error.
func repeat[T any](ctx context.Context, o options, out io.Writer, title string, measure func(server string) (T, error)) (of map[string][]T, err error) {
	of = make(map[string][]T)
	for i := range o.times {
		for _, server := range o.servers {
			if ctx.Err() != nil {
				return of, context.Cause(ctx)
			}
			began := time.Now()
			measured, failure := measure(server)
			word := "measured"
			if failure != nil {
				err, word = errFailed, "FAILED: "+failure.Error()
			} else {
				of[server] = append(of[server], measured)
			}
			fmt.Fprintf(out, "%s, %s, %d of %d, %v: %s\n", title, server, i+1, o.times, time.Since(began).Round(100*time.Millisecond), word)
		}
	}
	return of, err
}
