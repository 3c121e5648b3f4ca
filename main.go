// Command socketbridge brings messages from NATS to browsers over Socket.IO.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/internal/app"
	"github.com/codewar/socketbridge/internal/buildinfo"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/logging"
)

// Exit statuses, by contract.
const (
	exitStopped = 0 // stopped as asked
	exitFailed  = 1
	exitUsage   = 2 // configuration or usage wrong
	exitOffline = 3 // of send: the user is offline
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal drains, a second one kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitStopped
	}
	fmt.Fprintln(stderr, "socketbridge:", err)
	_, badConfig := errors.AsType[*config.Error](err)
	_, badUsage := errors.AsType[*usageError](err)
	if badConfig || badUsage {
		return exitUsage
	}
	if errors.Is(err, errOffline) {
		return exitOffline
	}
	return exitFailed
}

// usageError means that the command line is wrong.
type usageError struct{ error }

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "socketbridge",
		Short: "Brings messages from NATS to browsers over Socket.IO, in order, each once",
		Long: "Without a command it serves. Nothing needs to be configured: without NATS_URL a NATS server runs\n" +
			"inside this process, without REDIS_HOST everything is kept in memory.",
		Example: "  socketbridge                      serve on :3004 with everything embedded\n" +
			"  socketbridge --port 3005 --log-level debug\n" +
			"  NATS_URL=nats://nats:4222 REDIS_HOST=redis socketbridge",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          serveCommand,
	}
	config.AddFlags(root.PersistentFlags())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(
		&cobra.Command{Use: "serve", Short: "Serve until told to stop (the default)", Args: noArgs, RunE: serveCommand},
		newCheckCommand(),
		newVersionCommand(),
		newSendCommand(),
		newListenCommand(),
		newUsersCommand(),
		newUserCommand(),
		newBenchCommand(),
		newDeadCommand(),
		newTokenCommand(),
		newKeyCommand(),
	)
	offerNoFiles(root)
	return root
}

// offerNoFiles keeps the shells from completing arguments with the names of files,
// which no command takes.
func offerNoFiles(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range cmd.Commands() {
		offerNoFiles(sub)
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("unknown command %q for %q; see %s --help", args[0], cmd.CommandPath(), cmd.CommandPath())}
	}
	return nil
}

func newCheckCommand() *cobra.Command {
	var asJSON, servers bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration and print it, secrets masked",
		Long: "Prints the configuration in effect on standard output, as a file that config.yaml may be, and on\n" +
			"standard error a warning for each unsafe combination. Warnings do not change the exit status.\n" +
			"With --servers it also asks NATS and Redis, changes nothing there, and warns of settings with which\n" +
			"messages may be lost or sockets not found; it fails when one of them is not there.",
		Example: "  socketbridge check\n" +
			"  socketbridge check --config /etc/socketbridge.yaml --json | jq .http.addr",
		Args: noArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	cmd.Flags().BoolVar(&servers, "servers", false, "ask NATS and Redis for their settings too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(cmd.Flags())
		if err != nil {
			return err
		}
		warnings := cfg.Warnings()
		if servers {
			risks, err := app.Risks(cmd.Context(), cfg, slog.New(logging.New(cfg.Log, cmd.ErrOrStderr())))
			if err != nil {
				return err
			}
			warnings = append(warnings, risks...)
		}
		for _, w := range warnings {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning:", w)
		}
		if asJSON {
			return cfg.PrintJSON(cmd.OutOrStdout())
		}
		return cfg.Print(cmd.OutOrStdout())
	}
	return cmd
}

func newVersionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Example: "  socketbridge version --json", Args: noArgs}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if asJSON {
			return newJSONEncoder(cmd.OutOrStdout()).Encode(map[string]string{"version": buildinfo.Version, "revision": buildinfo.Revision(), "go": runtime.Version()})
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "socketbridge %s (%s)\n", buildinfo.Version, buildinfo.Revision())
		return err
	}
	return cmd
}

func serveCommand(cmd *cobra.Command, _ []string) error {
	cfg, err := config.Load(cmd.Flags())
	if err != nil {
		return err
	}
	return app.Run(cmd.Context(), cfg, cmd.ErrOrStderr())
}
