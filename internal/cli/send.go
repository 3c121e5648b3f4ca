package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/internal/logging"
	"github.com/codewar/socketbridge/subscriber"
)

// envAPIKey has the API key of a caller of /sendPayload. Command lines are visible to all users of
// the machine, so a variable is safer than a flag.
const envAPIKey = "API_KEY"

// sending is one message and its options.
type sending struct {
	user, topic string
	body        []byte // the whole envelope
	queue, ack  bool
}

// receiptJSON is what --json prints.
type receiptJSON struct {
	UserID  string         `json:"userId"`
	Topic   string         `json:"topic"`
	Outcome bridge.Outcome `json:"outcome"`
	Sockets int            `json:"sockets"`
	Offset  *bridge.Offset `json:"offset,omitempty"` // missing if the message was not stored
	Acks    *int           `json:"acks,omitempty"`   // with --ack
	AckMs   float64        `json:"ackMs,omitempty"`
	Code    string         `json:"code,omitempty"` // the reason, if the outcome is dead
	TookMs  float64        `json:"tookMs"`
}

func newSendCommand() *cobra.Command {
	var s sending
	var to, key string
	var timeout time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "send USER TOPIC [JSON|-]",
		Short: "Send a message to a user and print the receipt",
		Long: "Publishes the message and waits for its receipt: over NATS (nats.url or, without it, the bridge that\n" +
			"runs on this machine), or with --url over HTTP to /sendPayload. The payload is a JSON object; - reads\n" +
			"it from standard input, and without it the payload is {}.\n\n" +
			"Exit status: 0 delivered to a socket, or with --queue stored for the user; 3 the user is offline and\n" +
			"the message is not kept; 2 usage; 1 otherwise, also with --ack if no client has confirmed it. After\n" +
			"\"no receipt in time\" the message is stored and may still be delivered.",
		Example: "  socketbridge send user_123 submissionUpdate '{\"submissionId\":\"sub_456\",\"status\":\"ACCEPTED\"}'\n" +
			"  socketbridge send user_123 announcement - --queue < news.json\n" +
			"  API_KEY=judge.… socketbridge send user_123 ping --url https://bridge.example --ack --json",
	}
	cmd.Flags().BoolVar(&s.queue, "queue", false, "store the message for the user if no socket is connected")
	cmd.Flags().BoolVar(&s.ack, "ack", false, "ask the clients to confirm the message")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "maximum time to wait for the receipt")
	cmd.Flags().StringVar(&to, "url", "", "`address` of a bridge, to send over HTTP instead of NATS")
	cmd.Flags().StringVar(&key, "key", "", "API `key` for --url; prefer the variable "+envAPIKey)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as a JSON object")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) < 2 || len(args) > 3 {
			return usagef("say to whom and what: socketbridge send USER TOPIC [JSON|-]")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s.user, s.topic = args[0], args[1]
		switch {
		case timeout <= 0:
			return usagef("--timeout: must be more than 0s")
		case key != "" && to == "":
			return usagef("--key: is for --url; NATS has its own, see nats.token and nats.user")
		}
		payload, err := payloadOf(args[2:], cmd.InOrStdin())
		if err != nil {
			return err
		}
		if s.body, err = envelope(s.user, s.topic, payload); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, fmt.Errorf("no answer within %v", timeout))
		defer cancel()
		began := time.Now()
		var r bridge.Receipt
		if to != "" {
			r, err = s.overHTTP(ctx, to, cmp.Or(key, os.Getenv(envAPIKey)))
		} else {
			r, err = s.overNATS(ctx, cmd)
		}
		if err != nil {
			return err
		}
		if err := s.print(cmd.OutOrStdout(), r, time.Since(began), asJSON); err != nil {
			return err
		}
		return s.failure(r)
	}
	return cmd
}

// payloadOf returns the payload: the argument, standard input for "-", or {} without an argument.
func payloadOf(args []string, stdin io.Reader) ([]byte, error) {
	switch {
	case len(args) == 0:
		return []byte("{}"), nil
	case args[0] != "-":
		return []byte(args[0]), nil
	}
	text, err := io.ReadAll(stdin)
	if err != nil {
		return nil, fmt.Errorf("read standard input: %w", err)
	}
	return text, nil
}

// envelope adds user and topic to the payload and validates the result, so that an invalid message
// is refused here instead of becoming a dead letter.
func envelope(user, topic string, payload []byte) ([]byte, error) {
	head, err := json.Marshal(struct {
		UserID string `json:"userId"`
		Topic  string `json:"topic"`
	}{user, topic})
	if err != nil {
		return nil, fmt.Errorf("encode envelope: %w", err)
	}
	payload = bytes.TrimSpace(payload)
	if len(payload) == 0 || payload[0] != '{' || !json.Valid(payload) {
		return nil, usagef("the payload must be a JSON object")
	}
	body := head
	if rest := bytes.TrimSpace(payload[1:]); rest[0] != '}' {
		body = append(append(head[:len(head)-1], ','), rest...)
	}
	_, err = bridge.DecodeRequest(body)
	if invalid, bad := errors.AsType[*bridge.InvalidError](err); bad {
		if invalid.Code == bridge.CodeDuplicateKey {
			return nil, usagef("the payload must not have a key twice, nor userId and topic, which are arguments")
		}
		return nil, usagef("%s (%s)", invalid.Message, invalid.Code)
	}
	return body, nil
}

func (s sending) overNATS(ctx context.Context, cmd *cobra.Command) (bridge.Receipt, error) {
	cfg, err := config.Load(cmd.Flags())
	if err != nil {
		return bridge.Receipt{}, err
	}
	p, err := subscriber.OpenPublisher(cfg.NATS, slog.New(logging.New(cfg.Log, cmd.ErrOrStderr())))
	if err != nil {
		return bridge.Receipt{}, fmt.Errorf("%w (--url sends over HTTP)", err)
	}
	defer p.Close()
	header := make(map[string][]string)
	if !s.queue {
		header[bridge.HeaderOffline] = []string{bridge.OfflineDrop}
	}
	if s.ack {
		header[bridge.HeaderAck] = []string{bridge.AckClient}
	}
	return p.PublishForReceipt(ctx, subscriber.Publication{Topic: s.topic, Header: header, Body: s.body})
}

// overHTTP sends over HTTP and returns the answer as a receipt.
func (s sending) overHTTP(ctx context.Context, to, key string) (bridge.Receipt, error) {
	t, err := namedTarget("--url", to)
	if err != nil {
		return bridge.Receipt{}, err
	}
	t.key = bridge.Secret(key)
	client, closeIdle := t.client()
	defer closeIdle()
	query := make(url.Values)
	if s.queue {
		query.Set("queue", "true")
	}
	if s.ack {
		query.Set("ack", bridge.AckClient)
	}
	var r bridge.Receipt // the answer has the same field names
	status, err := t.call(ctx, client, http.MethodPost, "/sendPayload?"+query.Encode(), s.body, &r)
	if e, ok := errors.AsType[*httpError](err); ok && e.code == "USER_NOT_FOUND" {
		return bridge.Receipt{Outcome: bridge.Offline}, nil
	}
	r.Outcome = bridge.Pushed
	if status == http.StatusAccepted {
		r.Outcome = bridge.Inboxed
	}
	return r, err
}

func (s sending) print(w io.Writer, r bridge.Receipt, took time.Duration, asJSON bool) error {
	if asJSON {
		out := receiptJSON{UserID: s.user, Topic: s.topic, Outcome: r.Outcome, Sockets: r.Sockets, Acks: r.Acks, AckMs: r.AckMillis, Code: r.Code, TookMs: millis(took)}
		if r.Offset != (bridge.Offset{}) {
			out.Offset = &r.Offset
		}
		return newJSONEncoder(w).Encode(out)
	}
	var text string
	switch r.Outcome {
	case bridge.Pushed:
		text = "pushed to " + count(r.Sockets, "socket")
		if r.Acks != nil {
			text += fmt.Sprintf(", confirmed by %d", *r.Acks)
		}
	case bridge.Inboxed:
		text = "queued: the user is offline and gets it later"
	case bridge.Duplicate:
		text = "sent before: every socket of the user has it"
	case bridge.Offline, bridge.Dead: // reported as an error
		return nil
	}
	if r.Offset != (bridge.Offset{}) {
		text += ", offset " + r.Offset.String()
	}
	_, err := fmt.Fprintf(w, "%s, %.1f ms\n", text, millis(took))
	return err
}

// errOffline has an exit status of its own.
var errOffline = errors.New("the user is offline, nothing is kept; --queue keeps it")

// failure returns an error unless the message was delivered or queued as requested.
func (s sending) failure(r bridge.Receipt) error {
	switch {
	case r.Outcome == bridge.Offline:
		return errOffline
	case r.Outcome == bridge.Dead:
		return fmt.Errorf("the message breaks the bridge's rules: %s; see socketbridge dead ls", printable(r.Code))
	case r.Acks != nil && *r.Acks == 0 && r.Outcome == bridge.Pushed:
		return errors.New("no page confirmed it in time")
	}
	return nil
}
