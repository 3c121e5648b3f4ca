package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Of each ten messages that many go each way; half of what goes over HTTP asks to
// be queued.
const (
	coreShare      = 5
	jetstreamShare = 3
	httpShare      = 2
	// A publisher that waits for its answer needs company to keep the rate.
	jetstreamWorkers = 8
	httpWorkers      = 16
)

// answer is what a publisher was told of one message.
type answer uint8

const (
	stored  answer = iota + 1 // it is in the stream, and will arrive
	offline                   // it will never arrive
	unsure                    // no answer: it may arrive
)

// refusal is a call that was answered 404.
type refusal struct {
	user     string
	from, to time.Time
}

// publishers send numbered messages to users in turn.
type publishers struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	url    string // of /sendPayload
	client *http.Client
	users  int
	poison bool   // one in a hundred breaks the rules
	asking uint64 // one in so many messages of callers that queue is to be confirmed by pages; 0: none
	pad    func(user int) int

	next    atomic.Uint64 // the number of the next message
	limit   atomic.Int64  // ns since 1970; after it no attempt is repeated; 0: not set yet
	running sync.WaitGroup
	gate    sync.RWMutex // read-locked by each attempt; locked: nobody publishes

	mu      sync.Mutex // guards all below
	answers map[uint64]answer
	refused []refusal
	failure error
}

// start publishes at a rate in all until ctx ends. To stop, end ctx and call wait.
func (p *publishers) start(ctx context.Context, rate int) {
	p.answers = make(map[uint64]answer)
	p.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: httpWorkers}, Timeout: 10 * time.Second}
	share := float64(rate) / (coreShare + jetstreamShare + httpShare)
	p.running.Go(func() { p.run(ctx, share*coreShare, p.core) })
	for range jetstreamWorkers {
		p.running.Go(func() { p.run(ctx, share*jetstreamShare/jetstreamWorkers, p.acknowledged) })
	}
	for i := range httpWorkers {
		post := p.queued
		if i%2 == 0 {
			post = p.plain
		}
		p.running.Go(func() { p.run(ctx, share*httpShare/httpWorkers, post) })
	}
}

// run publishes at a rate. What could not be published in time is not made up for.
func (p *publishers) run(ctx context.Context, rate float64, publish func(n uint64)) {
	const tick = 10 * time.Millisecond
	t := time.NewTicker(tick)
	defer t.Stop()
	due := rand.Float64() // so that workers do not all publish in one instant
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		for due += rate * tick.Seconds(); due >= 1; due-- {
			publish(p.next.Add(1))
		}
	}
}

// wait returns when every attempt, retries too, has ended.
func (p *publishers) wait() error {
	p.limit.Store(time.Now().Add(retryLimit).UnixNano())
	p.running.Wait()
	p.client.CloseIdleConnections()
	if err := p.nc.FlushTimeout(5 * time.Second); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

// hold waits for the attempts in hand and keeps others from beginning, until
// release is called.
func (p *publishers) hold() (release func(), err error) {
	p.gate.Lock()
	return p.gate.Unlock, p.nc.FlushTimeout(5 * time.Second)
}

func (p *publishers) told(n uint64, a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[n] = a
}

// body is message n for its user, with a topic if it is not in the subject.
func (p *publishers) body(n uint64, topic string) []byte {
	user := int(n) % p.users
	b, err := json.Marshal(struct {
		Topic string `json:"topic,omitempty"`
		payload
	}{topic, payload{User: userName(user), N: n, Pad: strings.Repeat("x", p.pad(user))}})
	if err != nil {
		panic(err) // it always encodes
	}
	return b
}

func userName(i int) string { return "user_" + strconv.Itoa(i) }

// message is what goes to NATS: a sound one, or in its turn a poisoned one.
func (p *publishers) message(n uint64) *nats.Msg {
	m := nats.NewMsg("codewar.tick")
	m.Data = p.body(n, "")
	if !p.poison || n%100 >= 1 {
		return m
	}
	m.Header.Set(headerPoison, "1")
	switch rand.IntN(5) {
	case 0:
		m.Data = m.Data[:len(m.Data)-1]
	case 1:
		m.Data = []byte(`{"n":1}`)
	case 2:
		m.Data = []byte(`{"userId":"user_0","topic":"tock","n":1}`)
	case 3:
		m.Data = []byte("{\"userId\":\"user_0\",\"n\":\"\xff\"}")
	case 4:
		m.Subject = "codewar.disconnect" // reserved
	}
	return m
}

// core publishes and hopes, as core NATS does.
func (p *publishers) core(n uint64) {
	p.gate.RLock()
	defer p.gate.RUnlock()
	if err := p.nc.PublishMsg(p.message(n)); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.failure = fmt.Errorf("publish to core NATS: %w", err)
	}
}

const (
	// retryAfter is the pause before a publisher tries again.
	retryAfter = 200 * time.Millisecond
	// retryLimit is how long it does so when the row is over.
	retryLimit = 30 * time.Second
)

// again waits before the next try. It is false, and the row fails, when there is none.
func (p *publishers) again() bool {
	time.Sleep(retryAfter)
	limit := p.limit.Load()
	if limit == 0 || time.Now().UnixNano() < limit {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = errors.New("messages could not be published any more after the fault")
	return false
}

// acknowledged publishes until the stream has it. Its id keeps the stream from
// storing an attempt twice.
func (p *publishers) acknowledged(n uint64) {
	m := p.message(n)
	for !p.stored(n, m) && p.again() {
	}
}

func (p *publishers) stored(n uint64, m *nats.Msg) bool {
	p.gate.RLock()
	defer p.gate.RUnlock()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	_, err := p.js.PublishMsg(ctx, m, jetstream.WithMsgID(strconv.FormatUint(n, 10)), jetstream.WithRetryAttempts(0))
	if err != nil {
		return false
	}
	if m.Header.Get(headerPoison) == "" {
		p.told(n, stored)
	}
	return true
}

// pile publishes so many messages as fast as the stream takes them.
func (p *publishers) pile(ctx context.Context, count int) error {
	p.gate.RLock()
	defer p.gate.RUnlock()
	for range count {
		n := p.next.Add(1)
		if _, err := p.js.PublishMsgAsync(p.message(n), jetstream.WithStallWait(10*time.Second)); err != nil {
			return fmt.Errorf("pile up messages: %w", err)
		}
	}
	select {
	case <-p.js.PublishAsyncComplete():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// queued posts a message that must arrive, until it is answered. An attempt whose
// answer was lost is another message in the stream.
func (p *publishers) queued(n uint64) {
	query := "?queue=true"
	if p.asking > 0 && n%p.asking == 0 {
		query += "&ack=client"
	}
	for {
		if status := p.post(n, query); status == http.StatusOK || status == http.StatusAccepted {
			p.told(n, stored)
			return
		}
		if !p.again() {
			return
		}
	}
}

// plain posts a message once, for whoever is there.
func (p *publishers) plain(n uint64) {
	began := time.Now()
	switch p.post(n, "") {
	case http.StatusOK, http.StatusAccepted:
		p.told(n, stored)
	case http.StatusNotFound:
		p.told(n, offline)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.refused = append(p.refused, refusal{userName(int(n) % p.users), began, time.Now()})
	default:
		p.told(n, unsure)
	}
}

// post returns zero when there was no answer.
func (p *publishers) post(n uint64, query string) (status int) {
	p.gate.RLock()
	defer p.gate.RUnlock()
	res, err := p.client.Post(p.url+query, "application/json", bytes.NewReader(p.body(n, "tick")))
	if err != nil {
		return 0
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}
