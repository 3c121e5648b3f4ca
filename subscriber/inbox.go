package subscriber

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

var (
	errNoReply = errors.New("no reply in time")
	errUnsent  = errors.New("request not sent")
	errClosed  = errors.New("subscriber is closed")
)

// inbox receives the replies to this process: receipts, PubAcks and the answers of nodes.
// One wildcard subscription serves all; each request has a reply subject of its own.
// Safe for concurrent use.
type inbox struct {
	prefix   string // ends with a dot; random, so replies to an earlier process do not arrive here
	outbox   *outbox
	next     atomic.Uint64
	requests sync.Map // reply subject string -> *request

	publishes *pendingPublishes
}

// The first letter after the prefix says what a subject is for.
const (
	ofRequest = 'x'
	ofPubAck  = 'p'
	ofReceipt = 'r'
)

// openInbox subscribes. ours is what every PubAck of our stream contains.
func openInbox(nc *nats.Conn, out *outbox, ours []byte) (*inbox, error) {
	b := &inbox{prefix: nc.NewInbox() + ".", outbox: out}
	b.publishes = newPendingPublishes(b.prefix, ours, newPublishBatcher(nc.PublishMsg))
	if _, err := nc.Subscribe(b.prefix+"*", b.receive); err != nil {
		return nil, fmt.Errorf("subscribe inbox: %w", err)
	}
	return b, nil
}

func (b *inbox) receive(m *nats.Msg) {
	if b.publishes.receive(m) {
		return
	}
	r, ok := b.requests.Load(m.Subject)
	switch {
	case !ok:
	case noResponders(m):
		r.(*request).end(nil, bridge.ErrNodeGone)
	default:
		r.(*request).end(m, nil)
	}
}

// request is a message that waits for its reply. Safe for concurrent use.
type request struct {
	inbox   *inbox
	subject string
	reply   string
	timer   *time.Timer
	once    sync.Once
	done    func(*nats.Msg, error)
}

// request prepares a request to a subject. It calls done once: with the first reply, or with an
// error after limit. [bridge.ErrNodeGone] means that no process is subscribed to the subject. done
// runs on the goroutine of all replies, so it must not wait. Each request ends in done or in a call of end.
func (b *inbox) request(subject string, limit time.Duration, done func(*nats.Msg, error)) *request {
	r := &request{inbox: b, subject: subject, reply: b.prefix + string(ofRequest) + strconv.FormatUint(b.next.Add(1), 36), done: done}
	// Reset comes after the assignment: end reads timer, and may run on the timer's goroutine.
	r.timer = time.AfterFunc(time.Hour, func() { r.end(nil, errNoReply) })
	b.requests.Store(r.reply, r)
	r.timer.Reset(limit)
	return r
}

// send queues the request. After an error it is not sent, and done is not called because of that.
func (r *request) send(data []byte) error {
	m := &nats.Msg{Subject: r.subject, Reply: r.reply, Data: data}
	return r.inbox.outbox.put(outgoing{m, func(err error) { r.end(nil, fmt.Errorf("%w: %w", errUnsent, err)) }})
}

// end calls done, unless it was called before.
func (r *request) end(m *nats.Msg, err error) {
	r.once.Do(func() {
		r.timer.Stop()
		r.inbox.requests.Delete(r.reply)
		r.done(m, err)
	})
}

// endAll ends every request to a subject, or to any subject when that is empty.
func (b *inbox) endAll(subject string, err error) {
	b.requests.Range(func(_, r any) bool {
		if r := r.(*request); subject == "" || r.subject == subject {
			r.end(nil, err)
		}
		return true
	})
}

// request sends a request and returns the first reply. It fails at once when no process is
// subscribed, which is [bridge.ErrNodeGone], and when the connection is lost.
func (c *Client) request(ctx context.Context, subject string, data []byte) (reply *nats.Msg, err error) {
	replied := make(chan struct{})
	lost, _ := c.conn.use()
	r := c.inbox.request(subject, time.Hour, func(m *nats.Msg, e error) {
		reply, err = m, e
		close(replied)
	})
	if err := r.send(data); err != nil {
		r.end(nil, err)
	}
	select {
	case <-lost:
		r.end(nil, errLost)
	case <-ctx.Done():
		r.end(nil, context.Cause(ctx))
	case <-replied:
	}
	<-replied
	return reply, err
}

// noResponders reports whether m is the server's answer that the subject has no subscriber.
func noResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}

// maxReplySubject bounds, in bytes, a subject that another client has chosen.
const maxReplySubject = 256

var errReplySubject = errors.New("the reply subject is no inbox")

// respond answers a message of another node, whose reply subject is always an inbox. The bridge has
// more permissions than its clients: without the check a client could have it publish to
// $JS.API.STREAM.PURGE.CODEWAR, which would empty the stream.
func respond(m *nats.Msg, data []byte) error {
	if !isInbox(m.Reply) {
		return errReplySubject
	}
	return m.Respond(data)
}

// isInbox reports whether s is a subject on which a client receives replies.
func isInbox(s string) bool {
	return len(s) <= maxReplySubject && strings.HasPrefix(s, inboxPrefix+".") && plainSubject(s)
}

// subscribe handles the messages of a subject, until the returned function is called. purpose is the
// verb phrase of an error.
func (c *Client) subscribe(subject, purpose string, handle nats.MsgHandler) (unsubscribe func(), err error) {
	sub, err := c.nc.Subscribe(subject, handle)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", purpose, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is closed
}
