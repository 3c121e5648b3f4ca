package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/internal/config"
)

// tokenJSON is what --json prints.
type tokenJSON struct {
	Token     string    `json:"token"`
	UserID    string    `json:"userId"`
	ExpiresAt time.Time `json:"expiresAt"` // within a second
}

// newTokenCommand returns the command that signs tokens for this configuration.
func newTokenCommand() *cobra.Command {
	var user, keyFile string
	var ttl time.Duration
	var scopes []string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token for development, signed with a configured secret or a key file",
		Long: "Prints a token that a bridge with this configuration accepts, with its issuer, audience and user claim.\n" +
			"It is signed with the first of auth.secrets, or with --key, whose file name without extension is the kid.",
		Example: "  AUTH_SECRETS=dev:$(openssl rand -hex 32) socketbridge token --user user_123\n" +
			"  socketbridge token --user judge --scope payload:send --ttl 24h --key private.pem",
		Args: noArgs,
	}
	cmd.Flags().StringVar(&user, "user", "", "the `user` of the token")
	cmd.Flags().DurationVar(&ttl, "ttl", time.Hour, "how long the token is valid")
	cmd.Flags().StringVar(&keyFile, "key", "", "`file` with a private key in PEM, or with a secret")
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "`scopes` of the token, such as payload:send")
	asJSON := cmd.Flags().Bool("json", false, "as a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := config.Load(cmd.Flags())
		if err != nil {
			return err
		}
		switch {
		case !bridge.ValidUserID(user):
			return usagef("--user: must be 1 to 128 printable characters")
		case ttl <= 0:
			return usagef("--ttl: must be more than 0s")
		}
		signer, err := tokenSigner(cfg.Auth, keyFile)
		if err != nil {
			return err
		}
		token, err := signer.Sign(cfg.Auth.Tokens(), user, ttl, scopes)
		if err != nil {
			return fmt.Errorf("sign: %w", err)
		}
		if *asJSON {
			return newJSONEncoder(cmd.OutOrStdout()).Encode(tokenJSON{token, user, time.Now().Add(ttl).UTC().Truncate(time.Second)})
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
		return err
	}
	return cmd
}

func tokenSigner(cfg config.Auth, keyFile string) (*auth.Signer, error) {
	if keyFile == "" {
		if len(cfg.SecretEntries()) == 0 {
			return nil, usagef("no key to sign with: set auth.secrets, or name a file with --key")
		}
		return auth.NewSecretSigner(cfg.SecretEntries()[0])
	}
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	s, err := auth.NewSigner(keyFile, text)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", keyFile, err)
	}
	return s, nil
}
