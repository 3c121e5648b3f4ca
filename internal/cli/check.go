package cli

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/internal/app"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/logging"
)

func newCheckCommand() *cobra.Command {
	var asJSON, servers bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration and print it, secrets masked",
		Long: "Prints the effective configuration on standard output, in the format of config.yaml, and a warning for\n" +
			"each unsafe combination on standard error. Warnings do not change the exit status.\n" +
			"With --servers it also reads the settings of NATS and Redis, and warns of settings with which messages\n" +
			"may be lost or sockets not found. It fails if one of the servers is not available.",
		Example: "  socketbridge check\n" +
			"  socketbridge check --config /etc/socketbridge.yaml --json | jq .http.addr",
		Args: noArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	cmd.Flags().BoolVar(&servers, "servers", false, "check the settings of NATS and Redis too")
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
