package subscriber

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// Headers of a dead letter. To publish the message again as it was: send the
// body to HeaderDeadSubject with every header that begins with
// HeaderOriginal, without that prefix.
const (
	HeaderDeadCode    = "Bridge-Dead-Code"    // for programs
	HeaderDeadReason  = "Bridge-Dead-Reason"  // for people
	HeaderDeadSubject = "Bridge-Dead-Subject" // where it was published
	HeaderDeadOffset  = "Bridge-Dead-Offset"  // its place in the stream
	HeaderDeadAt      = "Bridge-Dead-At"      // RFC 3339, UTC
	// HeaderDeadUser is the user, escaped as in the path of a URL, where one could be
	// read out of the body.
	HeaderDeadUser = "Bridge-Dead-User"
	// HeaderDeadCut tells how many bytes the body had, when it had to be cut
	// because NATS does not take it together with these headers. The whole
	// message stays in the stream, at its offset, until it ages out.
	HeaderDeadCut = "Bridge-Dead-Cut"
	// HeaderOriginal is put before the names of the message's own headers: as
	// they are, some of them (Nats-Msg-Id, Nats-TTL ...) would act on the copy.
	HeaderOriginal = "Bridge-Original-"
)

// DeadLetter stores a message that breaks the rules, with the reason, under the
// subject bridge.dead.<code>. Storing it again does nothing within two minutes.
func (c *Client) DeadLetter(ctx context.Context, m *bridge.Message, why *bridge.InvalidError) error {
	_, err := c.store(ctx, c.cfg.deadLetter(m, why, time.Now()))
	if errors.Is(err, bridge.ErrTooLarge) {
		_, err = c.store(ctx, cut(c.cfg.deadLetter(m, why, time.Now()), c.conn.maxPayload()))
	}
	if err != nil {
		return fmt.Errorf("store dead letter: %w", err)
	}
	return nil
}

func (c Config) deadLetter(m *bridge.Message, why *bridge.InvalidError, now time.Time) *nats.Msg {
	d := nats.NewMsg(c.deadSubjects() + strings.ToLower(why.Code))
	d.Data = m.Body
	for name, values := range m.Header {
		d.Header[HeaderOriginal+name] = values
	}
	d.Header.Set(jetstream.MsgIDHeader, m.Offset.String())
	d.Header.Set(HeaderDeadCode, why.Code)
	d.Header.Set(HeaderDeadReason, why.Message)
	d.Header.Set(HeaderDeadSubject, m.Subject)
	d.Header.Set(HeaderDeadOffset, m.Offset.String())
	if user := bridge.GuessUser(m.Body); user != "" {
		d.Header.Set(HeaderDeadUser, url.PathEscape(string(user)))
	}
	d.Header.Set(HeaderDeadAt, now.UTC().Format(time.RFC3339Nano))
	return d
}

// cut makes d fit: the body is cut, and the message's own headers go when they
// alone are too much. A dead letter that could never be stored would hold the
// intake for ever.
func cut(d *nats.Msg, limit int) *nats.Msg {
	body := d.Data
	d.Data = nil
	d.Header.Set(HeaderDeadCut, strconv.Itoa(len(body)))
	if d.Size() > limit {
		maps.DeleteFunc(d.Header, func(name string, _ []string) bool { return strings.HasPrefix(name, HeaderOriginal) })
	}
	d.Data = body[:min(len(body), max(0, limit-d.Size()))]
	return d
}
