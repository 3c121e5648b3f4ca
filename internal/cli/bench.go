package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/loadtest"
	"github.com/codewar/socketbridge/internal/logging"
	"github.com/codewar/socketbridge/internal/sioclient"
	"github.com/codewar/socketbridge/subscriber"
)

// loadJSON is what --json prints.
type loadJSON struct {
	URL        string  `json:"url"`
	Via        string  `json:"via"` // where messages were published
	Users      int     `json:"users"`
	Rate       float64 `json:"rate"` // messages published a second
	Published  uint64  `json:"published"`
	Failed     uint64  `json:"failed"`
	Received   uint64  `json:"received"`
	Lost       uint64  `json:"lost"`
	Duplicates uint64  `json:"duplicates"`
	Inversions uint64  `json:"inversions"`
	Broken     uint64  `json:"connectionsLost"`
	P50        float64 `json:"p50Ms"`
	P90        float64 `json:"p90Ms"`
	P99        float64 `json:"p99Ms"`
	P999       float64 `json:"p999Ms"`
	Max        float64 `json:"maxMs"`
}

func newBenchCommand() *cobra.Command {
	p := loadtest.Plan{Settle: 5 * time.Second}
	var to, key string
	var overHTTP, yes, asJSON bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put a small load on a running bridge and check that no message is lost",
		Long: "Connects users by websocket, publishes messages for them over NATS or, with --http, /sendPayload, and\n" +
			"counts messages that were lost, duplicated or out of order. Latency is measured from the time at which\n" +
			"a message is due until its client has it, so it includes delays of the publisher. User ids begin with\n" +
			"bench- and a random text; other users get no messages. The users have no tokens, so auth.mode must be\n" +
			"none. Limits: 5,000 users, 20,000 messages a second, 10 minutes.\n\n" +
			"The command competes with the bridge for the CPU of this machine. Use make bench to compare versions.\n\n" +
			"Exit status: 0 every message arrived once and in order, 1 otherwise, 2 usage.",
		Example: "  socketbridge bench\n" +
			"  socketbridge bench --users 1000 --rate 2000 --for 30s --json\n" +
			"  API_KEY=judge.… socketbridge bench --url https://staging.example --http --yes",
		Args: noArgs,
	}
	flags := cmd.Flags()
	flags.IntVar(&p.Users, "users", 100, "number of `users` that connect")
	flags.IntVar(&p.Rate, "rate", 500, "`messages` a second, for all users together")
	flags.DurationVar(&p.For, "for", 10*time.Second, "how long to publish")
	flags.StringVar(&to, "url", "", "`address` of the bridge that the users connect to")
	flags.BoolVar(&overHTTP, "http", false, "publish to that address instead of NATS")
	flags.StringVar(&key, "key", "", "API `key` for --http; prefer the variable "+envAPIKey)
	flags.BoolVar(&yes, "yes", false, "allow a bridge or NATS server on another machine")
	flags.BoolVar(&asJSON, "json", false, "as a JSON object")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case p.Users < 1 || p.Users > loadtest.MaxUsers:
			return usagef("--users %d: must be 1 to %d", p.Users, loadtest.MaxUsers)
		case p.Rate < 1 || p.Rate > loadtest.MaxRate:
			return usagef("--rate %d: must be 1 to %d", p.Rate, loadtest.MaxRate)
		case p.For < time.Second || p.For > loadtest.MaxFor:
			return usagef("--for %v: must be 1s to %v", p.For, loadtest.MaxFor)
		case key != "" && !overHTTP:
			return usagef("--key: is for --http; NATS has its own, see nats.token and nats.user")
		}
		t, err := publicTarget(cmd, to)
		if err != nil {
			return err
		}
		if !yes && !t.loopback() {
			return usagef("%s is not on this machine: confirm with --yes", t.url)
		}
		t.key = bridge.Secret(cmp.Or(key, os.Getenv(envAPIKey)))
		p.Prefix = "bench-" + rand.Text()[:8]
		p.Connect = sioclient.Options{URL: t.url, Dialer: &websocket.Dialer{TLSClientConfig: t.tls, HandshakeTimeout: 10 * time.Second}}
		publishTo := publishNATS
		if overHTTP {
			publishTo = publishHTTP
		}
		via, publish, closePublisher, err := publishTo(cmd, t, yes)
		if err != nil {
			return err
		}
		p.Publish = publish
		defer closePublisher()
		if !asJSON {
			fmt.Fprintf(cmd.OutOrStdout(), "%d users at %s, %d messages a second over %s for %v\n", p.Users, t.url, p.Rate, via, p.For)
		}
		r, err := loadtest.Run(cmd.Context(), p)
		if err != nil {
			return err
		}
		if err := printLoad(cmd.OutOrStdout(), newLoadJSON(t.url, via, r), asJSON); err != nil {
			return err
		}
		return r.Err()
	}
	return cmd
}

// publishFunc stores one message.
type publishFunc func(ctx context.Context, body []byte) error

// publishHTTP publishes as a caller of /sendPayload.
func publishHTTP(_ *cobra.Command, t target, _ bool) (via string, publish publishFunc, closePublisher func(), err error) {
	client, closeIdle := t.client()
	return t.url + "/sendPayload", func(ctx context.Context, body []byte) error {
		_, err := t.call(ctx, client, http.MethodPost, "/sendPayload", body, new(struct{}))
		return err
	}, closeIdle, nil
}

// publishNATS publishes into the stream, which must be on this machine unless far.
func publishNATS(cmd *cobra.Command, _ target, far bool) (via string, publish publishFunc, closePublisher func(), err error) {
	cfg, err := config.Load(cmd.Flags())
	if err != nil {
		return "", nil, nil, err
	}
	pub, err := subscriber.OpenPublisher(cfg.NATS, slog.New(logging.New(cfg.Log, cmd.ErrOrStderr())))
	if err != nil {
		return "", nil, nil, fmt.Errorf("%w (--http publishes over HTTP)", err)
	}
	via = pub.Server()
	if u, err := url.Parse(via); !far && (err != nil || !config.IsLoopback(u.Hostname())) {
		pub.Close()
		return "", nil, nil, usagef("NATS at %s is not on this machine: confirm with --yes", via)
	}
	return via, func(ctx context.Context, body []byte) error {
		return pub.Publish(ctx, subscriber.Publication{Topic: loadtest.Topic, Body: body})
	}, pub.Close, nil
}

func newLoadJSON(url, via string, r loadtest.Result) loadJSON {
	at := func(percentile float64) float64 {
		return millis(time.Duration(r.Latency.ValueAtPercentile(percentile)))
	}
	return loadJSON{
		URL: url, Via: via, Users: r.Users, Rate: float64(int(float64(r.Published)/r.Took.Seconds()*10)) / 10,
		Published: r.Published, Failed: r.Failed, Received: r.Received, Lost: r.Lost, Duplicates: r.Duplicates, Inversions: r.Inversions, Broken: r.Broken,
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: millis(time.Duration(r.Latency.Max())),
	}
}

func printLoad(w io.Writer, r loadJSON, asJSON bool) error {
	if asJSON {
		return newJSONEncoder(w).Encode(r)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, strings.Join([]string{"published", "a second", "received", "lost", "duplicates", "inversions", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", ""}, "\t"))
	fmt.Fprintf(table, "%d\t%.1f\t%d\t%d\t%d\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", r.Published, r.Rate, r.Received, r.Lost, r.Duplicates, r.Inversions, r.P50, r.P90, r.P99, r.P999, r.Max)
	return table.Flush()
}
