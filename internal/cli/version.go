package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/internal/buildinfo"
)

func newVersionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Print the version", Example: "  socketbridge version --json", Args: noArgs}
	asJSON := cmd.Flags().Bool("json", false, "as a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *asJSON {
			return newJSONEncoder(cmd.OutOrStdout()).Encode(map[string]string{"version": buildinfo.Version, "revision": buildinfo.Revision(), "go": runtime.Version()})
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "socketbridge %s (%s)\n", buildinfo.Version, buildinfo.Revision())
		return err
	}
	return cmd
}
