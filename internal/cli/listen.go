package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/sioclient"
)

// envUserToken has the token of a client, for auth.mode jwt.
const envUserToken = "USER_TOKEN"

// listener is a Socket.IO client that prints its events.
type listener struct {
	user      string
	options   sioclient.Options
	out, note io.Writer // for events; for connection changes
	asJSON    bool
	left      int  // events until the end; negative: no end
	was       bool // it has been mapped to its user once
}

// eventJSON is what --json prints for each event.
type eventJSON struct {
	At      time.Time       `json:"at"`
	Offset  string          `json:"offset,omitempty"` // missing on events without one, such as errors
	Topic   string          `json:"topic"`
	Payload json.RawMessage `json:"payload"`
}

func newListenCommand() *cobra.Command {
	l := &listener{}
	var to, token, after string
	var most int
	cmd := &cobra.Command{
		Use:   "listen USER",
		Short: "Connect as a user and print the events",
		Long: "Connects like a browser and prints each event on a line: time, offset, topic, payload. It reconnects\n" +
			"after a lost connection and continues where it was. To the bridge it is another socket of the user: it\n" +
			"receives the messages that waited for the user, and senders see their messages as delivered.\n\n" +
			"Without --url it connects to the configured bridge on this machine.",
		Example: "  socketbridge listen user_123\n" +
			"  socketbridge listen user_123 --after 1763846400000-2 --json | jq .payload\n" +
			"  USER_TOKEN=$(socketbridge token --user user_123) socketbridge listen user_123 --url https://bridge.example",
		Args: oneUser,
	}
	cmd.Flags().StringVar(&to, "url", "", "`address` of a bridge")
	cmd.Flags().StringVar(&token, "token", "", "the user's `token`, with auth.mode jwt; prefer the variable "+envUserToken)
	cmd.Flags().StringVar(&after, "after", "", "begin after this `offset`, if the history still has it")
	cmd.Flags().IntVar(&most, "count", 0, "end after `n` events; 0: when interrupted")
	cmd.Flags().BoolVar(&l.asJSON, "json", false, "one JSON object a line")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		from, err := cursorOf(args[0], after)
		if err != nil {
			return usagef("--after %q: %w", after, err)
		}
		if most < 0 {
			return usagef("--count %d: must not be negative", most)
		}
		t, err := publicTarget(cmd, to)
		if err != nil {
			return err
		}
		l.user, l.out, l.note, l.left = args[0], cmd.OutOrStdout(), cmd.ErrOrStderr(), cmp.Or(most, -1)
		l.options = sioclient.Options{
			URL:     t.url,
			Dialer:  &websocket.Dialer{TLSClientConfig: t.tls, HandshakeTimeout: 10 * time.Second},
			Token:   cmp.Or(token, os.Getenv(envUserToken)),
			Session: sioclient.Session{Offset: from},
		}
		return l.run(cmd.Context())
	}
	return cmd
}

// cursorOf returns the cursor with which a client of the user resumes after an offset or a cursor.
func cursorOf(user, after string) (string, error) {
	if after == "" {
		return "", nil
	}
	c, err := bridge.ParseCursor(after)
	c.Tag = bridge.UserTag(bridge.UserID(user))
	return c.String(), err
}

// oneUser accepts one user id as the only argument.
func oneUser(_ *cobra.Command, args []string) error {
	if len(args) != 1 || !bridge.ValidUserID(args[0]) {
		return usagef("name one user: 1 to 128 printable characters")
	}
	return nil
}

// run listens until ctx ends, enough events have arrived, or the bridge refuses for good.
func (l *listener) run(ctx context.Context) error {
	wait := bridge.Backoff{First: 200 * time.Millisecond, Most: 5 * time.Second}
	for {
		began := time.Now()
		err := l.connect(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil
		case !l.was || final(err):
			return fmt.Errorf("listen at %s: %w", l.options.URL, err)
		case time.Since(began) > 10*time.Second:
			wait.Reset()
		}
		fmt.Fprintf(l.note, "connection lost, trying again: %v\n", err)
		select {
		case <-time.After(wait.Next()):
		case <-ctx.Done():
			return nil
		}
	}
}

// final reports whether another try would be refused again.
func final(err error) bool {
	e, refused := errors.AsType[*sioclient.RefusedError](err)
	if !refused {
		return errors.Is(err, sioclient.ErrProtocol)
	}
	return !strings.HasSuffix(e.Code, "UNAVAILABLE") && e.Status != 429 && e.Status < 500
}

// connect opens one connection and reads from it. It returns nil when enough events have arrived.
func (l *listener) connect(ctx context.Context) error {
	c, err := sioclient.Dial(ctx, l.options)
	if err != nil {
		return err
	}
	defer c.Close()
	defer func() { l.options.Session = c.Session() }()
	err = c.SetUser(l.user, func() {
		how := "connected"
		if l.was {
			how = "connected again"
		}
		l.was = true
		fmt.Fprintf(l.note, "%s to %s as %s, socket %s\n", how, l.options.URL, l.user, c.ID())
	})
	if err != nil {
		return err
	}
	for l.left != 0 {
		e, err := c.Read()
		if err != nil {
			return err
		}
		if err := c.Confirm(e); err != nil {
			return err
		}
		if e.Name == "bridge:offset" { // the session has taken it
			continue
		}
		if err := l.print(e, time.Now()); err != nil {
			return err
		}
		l.left--
	}
	return nil
}

func (l *listener) print(e sioclient.Event, at time.Time) error {
	out := eventJSON{At: at.UTC().Truncate(time.Millisecond), Topic: e.Name, Payload: json.RawMessage("null")}
	if len(e.Args) > 0 {
		out.Payload = e.Args[0]
	}
	if len(e.Args) > 1 {
		var c bridge.Cursor
		if json.Unmarshal(e.Args[1], &c) == nil { // otherwise the argument is no cursor
			out.Offset = c.Offset.String()
		}
	}
	if l.asJSON {
		return newJSONEncoder(l.out).Encode(out)
	}
	_, err := fmt.Fprintf(l.out, "%s  %-16s  %-18s %s\n", at.Format("15:04:05.000"), cmp.Or(printable(out.Offset), "-"), printable(out.Topic), oneLineJSON(out.Payload))
	return err
}

// oneLineJSON returns the value without white space, and with control characters escaped.
func oneLineJSON(text json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return printable(string(text))
	}
	var out strings.Builder
	for _, r := range b.String() {
		switch {
		case unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}
