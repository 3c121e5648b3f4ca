package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/logging"
	"github.com/codewar/socketbridge/subscriber"
)

// newDeadCommand returns the commands for dead letters. They connect to NATS, and use neither a
// bridge nor Redis.
func newDeadCommand() *cobra.Command {
	dead := &cobra.Command{
		Use:   "dead",
		Short: "List, show, replay and purge dead letters",
		Long: "Invalid messages are kept as dead letters in a stream of their own, with the reason. These commands\n" +
			"connect to nats.url or, without it, to the bridge that runs on this machine.",
		Example: "  socketbridge dead ls --newer 1h\n" +
			"  socketbridge dead show 12\n" +
			"  socketbridge dead replay 12 13\n" +
			"  socketbridge dead purge --reason INVALID_JSON --older 24h",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	dead.AddCommand(newDeadLs(), newDeadShow(), newDeadReplay(), newDeadPurge())
	return dead
}

func newDeadLs() *cobra.Command {
	var s deadSelector
	var limit int
	var asJSON bool
	cmd := &cobra.Command{Use: "ls", Short: "List dead letters, newest last", Args: noArgs}
	s.flags(cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "list only the newest `n`; 0 lists all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := s.check(cmd); err != nil {
			return err
		}
		if limit < 0 {
			return usagef("--limit %d: must not be negative", limit)
		}
		return withDeadLetters(cmd, func(ctx context.Context, d *subscriber.DeadLetters) error {
			return listDead(cmd.OutOrStdout(), d.List(ctx, s.selection), limit, asJSON)
		})
	}
	return cmd
}

func newDeadShow() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "show <sequence>", Short: "Show a dead letter: reason, headers and body"}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usagef("name one letter by its sequence, as dead ls lists it")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		seqs, err := sequences(args)
		if err != nil {
			return err
		}
		return withDeadLetters(cmd, func(ctx context.Context, d *subscriber.DeadLetters) error {
			l, err := d.Read(ctx, seqs[0])
			if err != nil {
				return fmt.Errorf("letter %d: %w", seqs[0], err)
			}
			return showDead(cmd.OutOrStdout(), l, asJSON)
		})
	}
	return cmd
}

func newDeadReplay() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay [<sequence>...]",
		Short: "Publish messages again to their subjects, and delete the letters",
		Long: "Publishes each message again with its subject, headers and body, waits until the stream has stored it,\n" +
			"and deletes the letter. A message that is still invalid becomes a new letter.",
	}
	runOnLetters(cmd, "replay", "replayed", func(ctx context.Context, d *subscriber.DeadLetters, l subscriber.DeadLetter) (did, error) {
		r, err := d.Replay(ctx, l.Seq)
		if r.Already {
			return did{fmt.Sprintf("had been replayed as message %d, letter removed", r.Seq), r.Seq}, err
		}
		return did{fmt.Sprintf("replayed to %s as message %d", printable(l.Subject), r.Seq), r.Seq}, err
	})
	return cmd
}

func newDeadPurge() *cobra.Command {
	cmd := &cobra.Command{Use: "purge [<sequence>...]", Short: "Delete dead letters"}
	runOnLetters(cmd, "purge", "purged", func(ctx context.Context, d *subscriber.DeadLetters, l subscriber.DeadLetter) (did, error) {
		return did{}, d.Delete(ctx, l.Seq)
	})
	return cmd
}

// did is what was done to a dead letter.
type did struct {
	text string // for the terminal; empty: no line
	as   uint64 // sequence of the replayed message; 0: none
}

// runOnLetters makes cmd call do for each letter that its arguments and flags select, and print the
// results. It continues after a letter that fails.
func runOnLetters(cmd *cobra.Command, verb, done string, do func(context.Context, *subscriber.DeadLetters, subscriber.DeadLetter) (did, error)) {
	var s deadSelector
	var all, dry, asJSON bool
	s.flags(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all dead letters")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "print what would be done, and do nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line, for each letter")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		seqs, err := sequences(args)
		if err != nil {
			return err
		}
		if err := s.check(cmd); err != nil {
			return err
		}
		ways := 0
		for _, way := range []bool{len(seqs) > 0, s.used(cmd), all} {
			if way {
				ways++
			}
		}
		if ways != 1 {
			return usagef("which letters? name their sequences, or use --reason, --older and --newer, or --all")
		}
		if dry {
			done = "would be " + done
			do = func(_ context.Context, _ *subscriber.DeadLetters, l subscriber.DeadLetter) (did, error) {
				return did{text: fmt.Sprintf("would %s: %s on %s", verb, printable(l.Code), printable(l.Subject))}, nil
			}
		}
		return withDeadLetters(cmd, func(ctx context.Context, d *subscriber.DeadLetters) error {
			letters := d.List(ctx, s.selection)
			if len(seqs) > 0 {
				letters = named(ctx, d, seqs)
			}
			return onEach(ctx, newDeadPrinter(cmd, done, asJSON), letters, func(l subscriber.DeadLetter) (did, error) { return do(ctx, d, l) })
		})
	}
}

// onEach is the loop of [runOnLetters].
func onEach(ctx context.Context, out *deadPrinter, letters iter.Seq2[subscriber.DeadLetter, error], do func(subscriber.DeadLetter) (did, error)) (err error) {
	var worked, failed int
	for l, fault := range letters {
		var d did
		if fault == nil {
			d, fault = do(l)
		}
		switch {
		case fault == nil:
			worked++
			out.worked(l.Seq, d)
			continue
		case l.Seq == 0: // the listing itself
			err = fault
		case ctx.Err() != nil || errors.Is(fault, bridge.ErrUnavailable): // the next letter would fail too
			err = fmt.Errorf("letter %d: %w", l.Seq, fault)
		default:
			failed++
			out.failed(l.Seq, fault)
			continue
		}
		break
	}
	out.total(worked)
	if failed > 0 && err == nil {
		err = fmt.Errorf("letters that failed: %d", failed)
	}
	return err
}

// named reads letters by sequence. A letter that cannot be read is yielded as its sequence and the
// error.
func named(ctx context.Context, d *subscriber.DeadLetters, seqs []uint64) iter.Seq2[subscriber.DeadLetter, error] {
	return func(yield func(subscriber.DeadLetter, error) bool) {
		for _, seq := range seqs {
			l, err := d.Read(ctx, seq)
			l.Seq = seq
			if !yield(l, err) {
				return
			}
		}
	}
}

// deadSelector has the flags that select letters.
type deadSelector struct{ selection subscriber.Selection }

func (s *deadSelector) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.selection.Code, "reason", "", "only letters with this reason `code`, such as INVALID_JSON")
	cmd.Flags().DurationVar(&s.selection.Older, "older", 0, "only letters of this `age` or older, such as 90m")
	cmd.Flags().DurationVar(&s.selection.Newer, "newer", 0, "only letters of this `age` or newer")
}

// used reports whether any of the flags was given.
func (s *deadSelector) used(cmd *cobra.Command) bool {
	return cmd.Flags().Changed("reason") || cmd.Flags().Changed("older") || cmd.Flags().Changed("newer")
}

// check refuses empty and contradicting flags: an empty flag must not select all letters.
func (s *deadSelector) check(cmd *cobra.Command) error {
	positive := func(name string, d time.Duration) bool { return d > 0 || !cmd.Flags().Changed(name) }
	switch {
	case cmd.Flags().Changed("reason") && !bridge.ValidNodeID(s.selection.Code): // one token of a subject
		return usagef("--reason %q: must be a reason code, such as INVALID_JSON", s.selection.Code)
	case !positive("older", s.selection.Older) || !positive("newer", s.selection.Newer):
		return usagef("--older and --newer: must be positive")
	case s.selection.Newer > 0 && s.selection.Older > s.selection.Newer:
		return usagef("--older %v and --newer %v: no letter is both", s.selection.Older, s.selection.Newer)
	}
	return nil
}

func sequences(args []string) ([]uint64, error) {
	seqs := make([]uint64, len(args))
	for i, a := range args {
		n, err := strconv.ParseUint(a, 10, 64)
		if err != nil || n == 0 {
			return nil, usagef("%q: must be the sequence of a dead letter, as dead ls lists it", a)
		}
		seqs[i] = n
	}
	return seqs, nil
}

// withDeadLetters loads the configuration, connects to NATS, calls use, and closes the connection.
func withDeadLetters(cmd *cobra.Command, use func(context.Context, *subscriber.DeadLetters) error) error {
	cfg, err := config.Load(cmd.Flags())
	if err != nil {
		return err
	}
	d, err := subscriber.OpenDeadLetters(cmd.Context(), cfg.NATS, slog.New(logging.New(cfg.Log, cmd.ErrOrStderr())))
	if err != nil {
		return err
	}
	defer d.Close()
	return use(cmd.Context(), d)
}
