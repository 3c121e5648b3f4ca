package subscriber

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// inbox takes the answers to this process: receipts, PubAcks and what nodes say
// to forwards. One wildcard subscription serves all; each answer has a subject of
// its own.
type inbox struct {
	prefix  string // ends with a dot; random, so an earlier process's answers do not arrive here
	next    atomic.Uint64
	waiting sync.Map // subject string -> func(*nats.Msg)
	asks    *asks
}

// The first letter after the prefix says whose answer it is.
const (
	ofAny     = 'x'
	ofPubAck  = 'p' // a call's
	ofReceipt = 'r' // a call's
)

// openInbox opens it. What is in ours is in a PubAck of our stream.
func openInbox(nc *nats.Conn, ours []byte) (*inbox, error) {
	b := &inbox{prefix: nc.NewInbox() + "."}
	b.asks = newAsks(b.prefix, ours, newConvoy(nc.PublishMsg))
	if _, err := nc.Subscribe(b.prefix+"*", b.take); err != nil {
		return nil, fmt.Errorf("subscribe inbox: %w", err)
	}
	return b, nil
}

// expect returns a subject, and calls answer with the first message to it unless
// that is forgotten before. answer runs on the goroutine of every answer: it must
// not wait.
func (b *inbox) expect(answer func(*nats.Msg)) (subject string) {
	subject = b.prefix + string(ofAny) + strconv.FormatUint(b.next.Add(1), 36)
	b.waiting.Store(subject, answer)
	return subject
}

func (b *inbox) forget(subject string) { b.waiting.Delete(subject) }

func (b *inbox) take(m *nats.Msg) {
	if b.asks.take(m) {
		return
	}
	if answer, ok := b.waiting.LoadAndDelete(m.Subject); ok {
		answer.(func(*nats.Msg))(m)
	}
}

// noResponders reports whether m is the server's answer that the subject has no subscriber.
func noResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}
