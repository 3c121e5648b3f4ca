package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/gateway/auth"
)

// newKeyCommand returns the command that makes keys for callers and operators.
func newKeyCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "key NAME",
		Short:   "Make an API key, and its entry for auth.api_keys or ops.keys",
		Long:    "Prints a new key for the caller NAME, and its entry for the configuration, which has only a hash of the\nkey. The key itself is not stored.",
		Example: "  socketbridge key judge",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !auth.ValidName(args[0]) {
				return usagef("name the key: 1 to 64 characters of A-Z, a-z, 0-9, ., _ and -")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			key, entry := auth.NewAPIKey(args[0])
			if asJSON {
				return newJSONEncoder(cmd.OutOrStdout()).Encode(map[string]string{"name": args[0], "key": key, "entry": entry})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "key:   %s\nentry: %s\n", key, entry)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	return cmd
}
