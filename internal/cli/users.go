package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/admin"
)

// envOpsKey has an operator's key.
const envOpsKey = "OPS_KEY"

// operator has the flags of the commands that call the operators' API.
type operator struct {
	url, key string
	asJSON   bool
}

func (o *operator) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.url, "ops-url", "", "`address` of the operators' routes; default: ops.addr or http.addr of the configuration, on this machine")
	cmd.Flags().StringVar(&o.key, "key", "", "an operators' `key`; prefer the variable "+envOpsKey)
	cmd.Flags().BoolVar(&o.asJSON, "json", false, "as a JSON object, as in the API")
}

// apiTimeout limits one call of the API, which queries all nodes and searches for up to two seconds.
const apiTimeout = 15 * time.Second

// get calls a route of the API and decodes the answer.
func (o *operator) get(cmd *cobra.Command, path string, into any) error {
	t, err := opsTarget(cmd, o.url)
	if err != nil {
		return err
	}
	t.key = bridge.Secret(cmp.Or(o.key, os.Getenv(envOpsKey)))
	client, closeIdle := t.client()
	defer closeIdle()
	ctx, cancel := context.WithTimeoutCause(cmd.Context(), apiTimeout, fmt.Errorf("no answer within %v", apiTimeout))
	defer cancel()
	_, err = t.call(ctx, client, http.MethodGet, "/api/v1"+path, nil, into)
	if e, ok := errors.AsType[*httpError](err); ok && (e.status == http.StatusNotFound || e.status == http.StatusUnauthorized) {
		return fmt.Errorf("ask the operators' API at %s: %w (see --ops-url and %s)", t.url, err, envOpsKey)
	}
	return err
}

func newUsersCommand() *cobra.Command {
	var o operator
	var prefix string
	var limit int
	cmd := &cobra.Command{
		Use:   "users",
		Short: "List the users who are connected to any node",
		Example: "  socketbridge users\n" +
			"  socketbridge users --prefix team_7 --json",
		Args: noArgs,
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&prefix, "prefix", "", "only users whose id begins with `text`")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most `n` of them")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 {
			return usagef("--limit %d: must be 1 or more", limit)
		}
		query := url.Values{"prefix": {prefix}, "limit": {strconv.Itoa(limit)}}
		return answer(&o, cmd, "/users?"+query.Encode(), printUsers)
	}
	return cmd
}

func newUserCommand() *cobra.Command {
	var o operator
	var topic string
	var limit int
	cmd := &cobra.Command{
		Use:   "user ID",
		Short: "Say why a user did or did not get a message",
		Long: "Prints the verdict first: never published, invalid, no socket, still queued, delivered to a client that\n" +
			"was gone, a client that was too slow, older than the history. Then it prints the user's sockets and\n" +
			"their events, and the last messages with the outcome of each. --json explains every verdict.",
		Example: "  socketbridge user user_123\n" +
			"  socketbridge user user_123 --topic evaluationComplete\n" +
			"  OPS_KEY=oncall.… socketbridge user user_123 --ops-url https://bridge.example --json",
		Args: oneUser,
	}
	o.flags(cmd)
	cmd.ValidArgsFunction = o.completeUser
	cmd.Flags().StringVar(&topic, "topic", "", "only messages of this `topic`")
	cmd.Flags().IntVar(&limit, "limit", 20, "at most `n` messages")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if limit < 1 {
			return usagef("--limit %d: must be 1 or more", limit)
		}
		query := url.Values{"topic": {topic}, "limit": {strconv.Itoa(limit)}}
		return answer(&o, cmd, "/users/"+url.PathEscape(args[0])+"?"+query.Encode(), printUser)
	}
	return cmd
}

// completeUser completes the ids of connected users.
func (o *operator) completeUser(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const most = 50
	var a admin.UsersReport
	query := url.Values{"prefix": {begun}, "limit": {strconv.Itoa(most)}}
	if len(args) > 0 || o.get(cmd, "/users?"+query.Encode(), &a) != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp // completion has nowhere to show an error
	}
	var ids []cobra.Completion
	for _, u := range a.Users {
		ids = append(ids, cobra.CompletionWithDesc(string(u.User), count(u.Sockets, "socket")))
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

// answer prints the answer of a route: as JSON, or with show.
func answer[A any](o *operator, cmd *cobra.Command, path string, show func(io.Writer, A, time.Time) error) error {
	if o.asJSON {
		var raw json.RawMessage
		if err := o.get(cmd, path, &raw); err != nil {
			return err
		}
		return newJSONEncoder(cmd.OutOrStdout()).Encode(raw)
	}
	var a A
	if err := o.get(cmd, path, &a); err != nil {
		return err
	}
	return show(cmd.OutOrStdout(), a, time.Now())
}
