package subscriber

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ackPrefix begins the reply subject of every message that a consumer delivers. The server writes
// it, so it distinguishes messages from the server's answers to the request.
const ackPrefix = "$JS.ACK."

const (
	// pullMessages bounds the number of messages of one request, which must have a bound. It is more than
	// maxBytes allows.
	pullMessages   = 1_000_000
	statusTimeout  = "408"
	statusConflict = "409"
	statusControl  = "100"
)

var errSilentConsumer = errors.New("no heartbeat of the consumer")

// puller reads a pull consumer. The library's own reader takes a message with an empty body and a
// header "Status" for an answer of the server, and any publisher can send one: the reader then ends, or
// loses the message, each time that it reads that message.
type puller struct {
	nc       *nats.Conn
	subject  string // of requests
	inbox    string // of their answers
	maxBytes int
	take     func(*nats.Msg) // called by one goroutine; the next request waits for it
	fail     func(error)     // called with each error, from any goroutine

	sub    *nats.Subscription // of inbox
	alive  *time.Timer        // fails the reader when the server is silent
	closed chan struct{}      // closed after the last call of take

	// What the server may still send without another request. Owned by handle after the subscription.
	messages, bytes int
}

// pull begins to read a consumer, until [puller.stop]. The server may be ahead of take by maxBytes, which
// the library's buffers then hold.
func pull(nc *nats.Conn, stream string, consumer jetstream.Consumer, maxBytes int, take func(*nats.Msg), fail func(error)) (*puller, error) {
	p := &puller{
		nc: nc, maxBytes: maxBytes, take: take, fail: fail, closed: make(chan struct{}),
		subject: jetstream.DefaultAPIPrefix + "CONSUMER.MSG.NEXT." + stream + "." + consumer.CachedInfo().Name,
		inbox:   nc.NewInbox(), messages: pullMessages, bytes: maxBytes,
	}
	p.alive = time.AfterFunc(2*heartbeat, func() { fail(errSilentConsumer) })
	sub, err := nc.Subscribe(p.inbox, p.handle)
	if err != nil {
		p.alive.Stop()
		return nil, fmt.Errorf("subscribe to consumer: %w", err)
	}
	p.sub = sub
	sub.SetClosedHandler(func(string) { close(p.closed) })
	// More than the server may send, so that the library never drops a message.
	err = sub.SetPendingLimits(-1, -1)
	if err == nil {
		err = p.request(p.messages, p.bytes)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// stop returns when take has returned for the last time.
func (p *puller) stop() {
	_ = p.sub.Unsubscribe() // fails when it is closed already
	<-p.closed
	p.alive.Stop()
}

// request asks for more. The server adds it to the requests that it has not answered yet.
func (p *puller) request(messages, bytes int) error {
	body, err := json.Marshal(struct {
		Expires   time.Duration `json:"expires"`
		Batch     int           `json:"batch"`
		MaxBytes  int           `json:"max_bytes"`
		Heartbeat time.Duration `json:"idle_heartbeat"`
	}{pullExpiry, messages, bytes, heartbeat})
	if err != nil {
		return fmt.Errorf("encode pull request: %w", err)
	}
	if err := p.nc.PublishRequest(p.subject, p.inbox, body); err != nil {
		return fmt.Errorf("request messages: %w", err)
	}
	return nil
}

// handle runs on the subscription's goroutine.
func (p *puller) handle(m *nats.Msg) {
	p.alive.Stop()
	if strings.HasPrefix(m.Reply, ackPrefix) {
		p.take(m)
		p.messages--
		p.bytes -= m.Size()
	} else if err := p.status(m); err != nil {
		p.fail(err)
		return
	}
	p.alive.Reset(2 * heartbeat)
	if p.messages < pullMessages/2 || p.bytes < p.maxBytes/2 {
		messages, bytes := pullMessages-p.messages, p.maxBytes-p.bytes
		p.messages, p.bytes = pullMessages, p.maxBytes
		if err := p.request(messages, bytes); err != nil {
			p.fail(err)
		}
	}
}

// status handles an answer of the server. An error ends the reader.
func (p *puller) status(m *nats.Msg) error {
	status, description := m.Header.Get("Status"), m.Header.Get("Description")
	switch {
	case status == statusControl: // a heartbeat
		return nil
	case status == statusTimeout, status == statusConflict && m.Header.Get(pendingBytes) != "":
		// A request has ended before it was answered in full.
		p.messages -= pending(m, pendingMessages)
		p.bytes -= pending(m, pendingBytes)
		return nil
	case noResponders(m):
		return nats.ErrNoResponders
	}
	return fmt.Errorf("consumer: %s %s", status, description)
}

// Headers with the rest of a request that has ended.
const (
	pendingMessages = "Nats-Pending-Messages"
	pendingBytes    = "Nats-Pending-Bytes"
)

func pending(m *nats.Msg, header string) int {
	n, err := strconv.Atoi(m.Header.Get(header))
	if err != nil {
		return 0
	}
	return n
}
