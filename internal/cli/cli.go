// Package cli has the commands of the program.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/internal/app"
	"github.com/codewar/socketbridge/internal/config"
)

// Exit statuses, by contract.
const (
	exitStopped = 0 // stopped as asked
	exitFailed  = 1
	exitUsage   = 2 // configuration or usage wrong
	exitOffline = 3 // of send: the user is offline
)

// Run runs the command that args name and returns the exit status of the process.
func Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
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

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "socketbridge",
		Short: "Deliver messages from NATS to browsers over Socket.IO, in order, each once",
		Long: "Without a command it serves. No configuration is required: without NATS_URL a NATS server runs inside\n" +
			"this process, and without REDIS_HOST all state is kept in memory.",
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
		&cobra.Command{Use: "serve", Short: "Serve until SIGINT or SIGTERM (the default)", Args: noArgs, RunE: serveCommand},
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

// offerNoFiles turns off the completion of file names, which no command takes as arguments.
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
		return usagef("unknown command %q for %q; see %s --help", args[0], cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

func serveCommand(cmd *cobra.Command, _ []string) error {
	cfg, err := config.Load(cmd.Flags())
	if err != nil {
		return err
	}
	return app.Run(cmd.Context(), cfg, cmd.ErrOrStderr())
}
