package subscriber

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

// inbox takes the answers to this process: receipts, PubAcks and what nodes say
// to forwards. One wildcard subscription serves all; each answer has a subject of
// its own.
type inbox struct {
	prefix  string // ends with a dot; random, so an earlier process's answers do not arrive here
	next    atomic.Uint64
	waiting sync.Map // subject string -> func(*nats.Msg), or func(bridge.Receipt) of a receipt
}

func openInbox(nc *nats.Conn) (*inbox, error) {
	b := &inbox{prefix: nc.NewInbox() + "."}
	if _, err := nc.Subscribe(b.prefix+"*", b.take); err != nil {
		return nil, fmt.Errorf("subscribe inbox: %w", err)
	}
	return b, nil
}

// expect returns a subject, and calls answer with the first message to it unless
// that is forgotten before. answer runs on the goroutine of every answer: it must
// not wait.
func (b *inbox) expect(answer func(*nats.Msg)) (subject string) {
	subject = b.prefix + strconv.FormatUint(b.next.Add(1), 36)
	b.waiting.Store(subject, answer)
	return subject
}

// expectReceipt does the same for a receipt. One of this process's own router
// takes no way over NATS.
func (b *inbox) expectReceipt(answer func(bridge.Receipt)) (subject string) {
	subject = b.prefix + strconv.FormatUint(b.next.Add(1), 36)
	b.waiting.Store(subject, answer)
	return subject
}

func (b *inbox) forget(subject string) { b.waiting.Delete(subject) }

func (b *inbox) take(m *nats.Msg) {
	switch answer, _ := b.waiting.LoadAndDelete(m.Subject); answer := answer.(type) {
	case func(*nats.Msg):
		answer(m)
	case func(bridge.Receipt):
		var r bridge.Receipt
		if err := json.Unmarshal(m.Data, &r); err == nil { // who gets nonsense hears of nothing
			answer(r)
		}
	}
}

// takeReceipt hands over a receipt whose subject is here, and reports whether it was.
func (b *inbox) takeReceipt(subject string, r bridge.Receipt) bool {
	if !strings.HasPrefix(subject, b.prefix) {
		return false
	}
	if answer, ok := b.waiting.LoadAndDelete(subject); ok {
		if answer, ok := answer.(func(bridge.Receipt)); ok {
			answer(r)
		}
	}
	return true
}

// noResponders says whether m is the server's word that nobody listens.
func noResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}
