package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	ok, err := chaos(ctx, os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// chaos runs the rows and prints the table; ok is false when any of them failed.
func chaos(ctx context.Context, args []string, out io.Writer) (ok bool, err error) {
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	only := flags.String("run", "", "run only the rows whose name matches this expression")
	small := flags.Bool("short", false, "the form that the tests run, with the race detector")
	list := flags.Bool("list", false, "say which rows there are")
	times := flags.Int("count", 1, "run each row so many times")
	curve := flags.String("deploy", "", "measure instead what a deploy does to pages, and write it to this `file`, curves beside it")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	pick, err := regexp.Compile(*only)
	if err != nil {
		return false, fmt.Errorf("-run: %w", err)
	}
	if *list {
		for _, r := range rows() {
			fmt.Fprintf(out, "%-32s  %s\n", r.name, r.on.name)
		}
		return true, nil
	}
	s := long
	if *small {
		s = short
	}
	dir, err := os.MkdirTemp("", "bridge-chaos-")
	if err != nil {
		return false, fmt.Errorf("make directory: %w", err)
	}
	bin, err := build(ctx, dir, *small)
	if err != nil {
		return false, err
	}
	if *curve != "" {
		ok, err := measureDeploys(ctx, bin, dir, *curve, pick)
		return ok, errors.Join(err, os.RemoveAll(dir))
	}
	fmt.Fprintf(out, "logs in %s\n\n", dir)
	table := newTable(out)
	ok = true
	for i := range *times {
		for _, r := range rows() {
			if !pick.MatchString(r.name) {
				continue
			}
			if program := r.on.missing(); program != "" {
				fmt.Fprintf(out, "%-32s left out: %s is not installed\n", r.name, program)
				continue
			}
			began := time.Now()
			res, err := perform(ctx, r, s, bin, filepath.Join(dir, fmt.Sprint(strings.ReplaceAll(r.name, " ", "-"), i)))
			table.add(r.name, res, err, time.Since(began))
			ok = ok && err == nil && !res.failed()
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
		}
	}
	if ok {
		err = os.RemoveAll(dir)
	}
	return ok, err
}

// table prints a line as soon as it is known, in columns of fixed width.
type table struct{ out io.Writer }

const lineFormat = "%-32s %9v %9v %9v %5v %5v %5v %6v %5v %7v %7v %6v %6v %5v %10v %8v %5v\n"

func newTable(out io.Writer) *table {
	fmt.Fprintf(out, lineFormat, "row", "published", "received", "replayed", "dup", "inv", "lost", "strays", "gaps", "in gaps",
		"offline", "denied", "unsure", "dead", "reconnects", "silence", "took")
	return &table{out}
}

func (t *table) add(name string, r *result, err error, took time.Duration) {
	if err != nil {
		fmt.Fprintf(t.out, "%-32s failed: %v\n", name, err)
		return
	}
	fmt.Fprintf(t.out, lineFormat, name, r.published, r.received, r.replayed, r.duplicates, r.inversions,
		r.lost, r.strays, r.gaps, r.gapped, r.offline, r.denied, r.unsure, r.dead, r.reconnects,
		r.silence.Round(10*time.Millisecond), took.Round(time.Second))
	for _, line := range r.said {
		fmt.Fprintf(t.out, "    %s\n", line)
	}
	for _, b := range r.breaches {
		fmt.Fprintf(t.out, "    FAILED: %s\n", b)
	}
}
