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

// Headers of a dead letter. To publish the message again unchanged, send the body to
// HeaderDeadSubject with every header whose name begins with HeaderOriginal, without that
// prefix.
const (
	HeaderDeadCode    = "Bridge-Dead-Code"    // for programs
	HeaderDeadReason  = "Bridge-Dead-Reason"  // for people
	HeaderDeadSubject = "Bridge-Dead-Subject" // where the message was published
	HeaderDeadOffset  = "Bridge-Dead-Offset"  // of the message in the stream
	HeaderDeadAt      = "Bridge-Dead-At"      // RFC 3339, UTC
	// HeaderDeadUser is the user, escaped as in the path of a URL. It is absent when the body names none.
	HeaderDeadUser = "Bridge-Dead-User"
	// HeaderDeadCut is the size of the body in bytes. It is set when the copy has only a part of the
	// body. The stream has the whole message, at its offset, until it expires.
	HeaderDeadCut = "Bridge-Dead-Cut"
	// HeaderDeadOmitted is how many of the message's own header values the copy does not have.
	HeaderDeadOmitted = "Bridge-Dead-Omitted"
	// HeaderOriginal precedes the names of the message's own headers. Unprefixed, some of them
	// (Nats-Msg-Id, Nats-TTL ...) would act on the copy.
	HeaderOriginal = "Bridge-Original-"
)

// Limits of the message's own headers in a dead letter. JetStream accepts 64 KB of headers
// in a message, and HeaderOriginal makes each name longer in the copy.
const (
	maxOriginalValues = 256
	maxOriginalBytes  = 32 << 10
	// maxDeadSubject bounds the subject in a minimal dead letter, in bytes.
	maxDeadSubject = 1024
)

// StoreDeadLetter stores an invalid message, with the reason, under the subject bridge.dead.<code>.
// Storing it again within two minutes has no effect. When NATS refuses the dead letter, a minimal
// one is stored, which has only the subject, the offset and the sizes of the message.
// [bridge.ErrRefused] means that NATS refuses both permanently. After [bridge.ErrNotNow] and other
// errors the caller should retry.
func (c *Client) StoreDeadLetter(ctx context.Context, m *bridge.Message, why *bridge.InvalidError) error {
	now := time.Now()
	err := c.storeDead(ctx, c.cfg.deadLetter(m, why, now, c.conn.maxPayload()))
	if errors.Is(err, bridge.ErrRefused) {
		c.log.Warn("dead letter refused, storing a minimal one", "stream_seq", m.Offset.Seq, "err", err)
		err = c.storeDead(ctx, c.cfg.minimalDeadLetter(m, why, now))
	}
	if err != nil {
		return fmt.Errorf("store dead letter: %w", err)
	}
	return nil
}

// storeDead does not wait until a missing stream is created again: the caller decides how long to retry.
func (c *Client) storeDead(ctx context.Context, m *nats.Msg) error {
	_, err := c.store(ctx, m, jetstream.WithRetryAttempts(0))
	return err
}

// minimalDeadLetter says which message broke which rule, and has nothing else of the message.
func (c Config) minimalDeadLetter(m *bridge.Message, why *bridge.InvalidError, now time.Time) *nats.Msg {
	d := nats.NewMsg(c.deadSubjects() + strings.ToLower(why.Code))
	d.Header.Set(jetstream.MsgIDHeader, m.Offset.String())
	d.Header.Set(HeaderDeadCode, why.Code)
	d.Header.Set(HeaderDeadReason, why.Message)
	d.Header.Set(HeaderDeadSubject, m.Subject[:min(len(m.Subject), maxDeadSubject)])
	d.Header.Set(HeaderDeadOffset, m.Offset.String())
	d.Header.Set(HeaderDeadAt, now.UTC().Format(time.RFC3339Nano))
	d.Header.Set(HeaderDeadCut, strconv.Itoa(len(m.Body)))
	values := 0
	for _, v := range m.Header {
		values += len(v)
	}
	if values > 0 {
		d.Header.Set(HeaderDeadOmitted, strconv.Itoa(values))
	}
	return d
}

// deadLetter is a copy of the message with at most limit bytes and bounded headers. A dead letter
// that NATS never accepts would block the intake.
func (c Config) deadLetter(m *bridge.Message, why *bridge.InvalidError, now time.Time, limit int) *nats.Msg {
	d := c.minimalDeadLetter(m, why, now)
	d.Header.Del(HeaderDeadCut)
	d.Header.Del(HeaderDeadOmitted)
	d.Header.Set(HeaderDeadSubject, m.Subject)
	if user := bridge.FindUser(m.Body); user != "" {
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

// copyHeader copies header values under HeaderOriginal, in the order of their names. It omits those
// that exceed the limits or cannot be published, and returns their number.
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

// validHeaderName reports whether the client library publishes a header of this name. The library
// also delivers other names, which a raw client has sent.
func validHeaderName(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f || s[i] == ':' {
			return false
		}
	}
	return s != ""
}

// DeadLetter is one dead letter: an invalid message and the reason.
type DeadLetter struct {
	Seq     uint64    // in the stream of dead letters; identifies the letter
	At      time.Time // when it was stored there
	Code    string    // the reason, for programs
	Reason  string    // the reason, for people
	Subject string    // where the message was published
	Offset  bridge.Offset
	User    bridge.UserID // empty when the body names none
	Size    int           // of the message's body as published, in bytes
	// Cut means that Body is only the first part, or that Header is incomplete, because NATS does
	// not accept the whole message together with the reason.
	Cut    bool
	Header map[string][]string // the message's own
	Body   []byte              // nil in letters from [DeadLetters.List]
}

// readDeadLetter reads what [Client.StoreDeadLetter] wrote. A message that another program has put
// into the stream becomes a letter without a subject, which cannot be replayed.
// size is the size of the stored body.
func readDeadLetter(seq uint64, at time.Time, subject string, header nats.Header, size int) DeadLetter {
	l := DeadLetter{
		Seq: seq, At: at, Size: size, Header: make(map[string][]string),
		Code:    header.Get(HeaderDeadCode),
		Reason:  header.Get(HeaderDeadReason),
		Subject: header.Get(HeaderDeadSubject),
	}
	if l.Code == "" {
		l.Code = strings.ToUpper(subject[strings.LastIndexByte(subject, '.')+1:])
	}
	if user, err := url.PathUnescape(header.Get(HeaderDeadUser)); err == nil && bridge.ValidUserID(user) {
		l.User = bridge.UserID(user)
	}
	if o, err := bridge.ParseOffset(header.Get(HeaderDeadOffset)); err == nil {
		l.Offset = o
	}
	if n, err := strconv.Atoi(header.Get(HeaderDeadCut)); err == nil {
		l.Size, l.Cut = n, true
	}
	if header.Get(HeaderDeadOmitted) != "" {
		l.Cut = true
	}
	for name, values := range header {
		if own, ok := strings.CutPrefix(name, HeaderOriginal); ok {
			l.Header[own] = values
		}
	}
	return l
}
