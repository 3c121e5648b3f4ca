package subscriber

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
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
	// HeaderDeadCut tells how many bytes the body had, when not all of it is in the copy. The
	// whole message stays in the stream, at its offset, until it ages out.
	HeaderDeadCut = "Bridge-Dead-Cut"
	// HeaderDeadOmitted tells how many of the message's own header values are not in the copy.
	HeaderDeadOmitted = "Bridge-Dead-Omitted"
	// HeaderOriginal is put before the names of the message's own headers: as
	// they are, some of them (Nats-Msg-Id, Nats-TTL ...) would act on the copy.
	HeaderOriginal = "Bridge-Original-"
)

// Bounds of what a dead letter has of the message's own headers. JetStream takes 64 KB of headers
// in a message, and each name is longer by HeaderOriginal in the copy.
const (
	maxOriginalValues = 256
	maxOriginalBytes  = 32 << 10
	// maxDeadSubject bounds the subject in a minimal dead letter.
	maxDeadSubject = 1024
)

// DeadLetter stores a message that breaks the rules, with the reason, under the
// subject bridge.dead.<code>. Storing it again does nothing within two minutes. What NATS does not
// take is stored as a minimal dead letter, which has nothing of the message but subject, offset
// and sizes. [bridge.ErrRefused] means that NATS takes neither, and never will;
// [bridge.ErrNotNow] and other errors mean that trying again is right.
func (c *Client) DeadLetter(ctx context.Context, m *bridge.Message, why *bridge.InvalidError) error {
	now := time.Now()
	err := c.storeDead(ctx, c.cfg.deadLetter(m, why, now, c.conn.maxPayload()))
	if errors.Is(err, bridge.ErrRefused) {
		c.log.Warn("dead letter refused, storing a minimal one", "stream_seq", m.Offset.Seq, "err", err)
		err = c.storeDead(ctx, c.cfg.minimalLetter(m, why, now))
	}
	if err != nil {
		return fmt.Errorf("store dead letter: %w", err)
	}
	return nil
}

// storeDead does not wait for a missing stream to come back: the caller decides how long to try.
func (c *Client) storeDead(ctx context.Context, m *nats.Msg) error {
	_, err := c.store(ctx, m, jetstream.WithRetryAttempts(0))
	return err
}

// minimalLetter says no more than which message broke which rule.
func (c Config) minimalLetter(m *bridge.Message, why *bridge.InvalidError, now time.Time) *nats.Msg {
	d := nats.NewMsg(c.deadSubjects() + strings.ToLower(why.Code))
	d.Header.Set(jetstream.MsgIDHeader, m.Offset.String())
	d.Header.Set(HeaderDeadCode, why.Code)
	d.Header.Set(HeaderDeadReason, why.Message)
	d.Header.Set(HeaderDeadSubject, m.Subject[:min(len(m.Subject), maxDeadSubject)])
	d.Header.Set(HeaderDeadOffset, m.Offset.String())
	d.Header.Set(HeaderDeadAt, now.UTC().Format(time.RFC3339Nano))
	d.Header.Set(HeaderDeadCut, strconv.Itoa(len(m.Body)))
	if n := values(m.Header); n > 0 {
		d.Header.Set(HeaderDeadOmitted, strconv.Itoa(n))
	}
	return d
}

// deadLetter is a copy of the message that NATS takes: of at most limit bytes, with bounded
// headers. A dead letter that could never be stored would hold the intake for ever.
func (c Config) deadLetter(m *bridge.Message, why *bridge.InvalidError, now time.Time, limit int) *nats.Msg {
	d := c.minimalLetter(m, why, now)
	d.Header.Del(HeaderDeadCut)
	d.Header.Del(HeaderDeadOmitted)
	d.Header.Set(HeaderDeadSubject, m.Subject)
	if user := bridge.GuessUser(m.Body); user != "" {
		d.Header.Set(HeaderDeadUser, url.PathEscape(string(user)))
	}
	if omitted := copyHeader(d.Header, m.Header, min(maxOriginalBytes, limit/4)); omitted > 0 {
		d.Header.Set(HeaderDeadOmitted, strconv.Itoa(omitted))
	}
	if d.Size()+len(m.Body) > limit {
		d.Header.Set(HeaderDeadCut, strconv.Itoa(len(m.Body)))
	}
	d.Data = m.Body[:min(len(m.Body), max(0, limit-d.Size()))]
	return d
}

// copyHeader copies header values under HeaderOriginal, in the order of their names, while they
// are within the bounds and can be published, and returns how many it has left out.
func copyHeader(to nats.Header, from map[string][]string, bytes int) (omitted int) {
	copied := 0
	for _, name := range slices.Sorted(maps.Keys(from)) {
		for _, value := range from[name] {
			size := len(HeaderOriginal) + len(name) + len(": ") + len(value) + len("\r\n")
			if size > bytes || copied == maxOriginalValues || !validHeaderName(name) {
				omitted++
				continue
			}
			bytes -= size
			copied++
			to[HeaderOriginal+name] = append(to[HeaderOriginal+name], value)
		}
	}
	return omitted
}

// validHeaderName reports whether the client library publishes a header of this name. It delivers
// others too, as a raw client has sent them.
func validHeaderName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// values counts the values of a header.
func values(header map[string][]string) (n int) {
	for _, v := range header {
		n += len(v)
	}
	return n
}
