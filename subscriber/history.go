package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// maxPage bounds the messages of one page.
	maxPage = 1000
	// queriesPerCall bounds the queries of one question.
	queriesPerCall = 64
	// historyCalls is how many questions of this node may wait for their answer. Queries that come
	// meanwhile are collected, so that many clients at once cause few questions with many queries.
	historyCalls = 4
	// historyLimit bounds how long the leader may take to answer, and how long a query waits for
	// the next leader.
	historyLimit = 2 * time.Second
	// leaderEvery is the pause before a question is sent again while no leader answers.
	leaderEvery = 20 * time.Millisecond
	// fetches is how many messages are read from the stream at the same time.
	fetches = 16
)

var (
	errNoLeader  = fmt.Errorf("%w: no leader answers for histories", bridge.ErrUnavailable)
	errUndecided = fmt.Errorf("%w: a withdrawal is on its way", bridge.ErrUnavailable)
)

// History returns the messages that sockets have missed, from the index of the leader: this process's
// own when it leads, else by a question over NATS. It implements [bridge.History].
type History struct {
	client *Client
	index  *bridge.Index
	log    *slog.Logger

	mu      sync.Mutex // guards all below
	term    uint64     // that this node leads and answers for; zero: none
	sub     *nats.Subscription
	calls   int // questions of this node that wait for their answer
	waiting []*historyRead
}

// historyRead is one query that waits for its page.
type historyRead struct {
	query bridge.HistoryQuery
	page  chan historyPage // capacity 1
}

type historyPage struct {
	bridge.Replay
	err error
}

// NewHistory makes the history of this node. It answers other nodes while the intake with the same
// index leads.
func (c *Client) NewHistory(index *bridge.Index) *History {
	return &History{client: c, index: index, log: c.root.With("component", "history")}
}

// Read implements [bridge.History]. It waits while the leader changes.
func (h *History) Read(ctx context.Context, q bridge.HistoryQuery) (bridge.Replay, error) {
	q.Limit = min(q.Limit, maxPage)
	from, began := q.After, time.Now()
	var gap bool
	for {
		page, here := h.here(q)
		if !here {
			var err error
			page, err = h.ask(ctx, q)
			if errors.Is(err, errNoLeader) && time.Since(began) < historyLimit {
				continue
			}
			if err != nil {
				return bridge.Replay{}, err
			}
		}
		if page.Undecided {
			return bridge.Replay{}, errUndecided
		}
		last := page.Last
		if n := len(page.Entries); n > 0 {
			last = page.Entries[n-1].Offset
		}
		if err := h.fetch(ctx, &page); err != nil {
			return bridge.Replay{}, err
		}
		page.Gap, page.From = page.Gap || gap, from
		if len(page.Entries) > 0 || !page.More || q.Limit <= 0 {
			return page, nil
		}
		q.After, gap = last, page.Gap // the stream does not have any of them
	}
}

// here answers from the index of this node, when it leads and has not heard of a greater term.
func (h *History) here(q bridge.HistoryQuery) (bridge.Replay, bool) {
	h.mu.Lock()
	term := h.term
	h.mu.Unlock()
	if term == 0 || h.client.heardTerm.Load() > term {
		return bridge.Replay{}, false
	}
	page := h.index.Read(q)
	page.Term = term
	return page, true
}

// listen subscribes to questions, without answering them until open. A leader subscribes before the
// other nodes hear of its term: otherwise a question would reach only the leader before, which may
// hang.
func (h *History) listen() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	sub, err := h.client.nc.Subscribe(h.client.cfg.historySubject(), h.answer)
	if err != nil {
		return fmt.Errorf("answer for histories: %w", err)
	}
	h.sub = sub
	return nil
}

// open begins to answer questions in a term, until close. It comes after listen.
func (h *History) open(term uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.term = term
}

// close ends the answers.
func (h *History) close() {
	h.mu.Lock()
	sub := h.sub
	h.term, h.sub = 0, nil
	h.mu.Unlock()
	if sub != nil {
		_ = sub.Unsubscribe() // fails only when the connection is closed
	}
}

// AskAgain repeats the questions that wait for an answer: another node leads now, and the node that
// was asked may hang.
func (h *History) AskAgain() { h.client.inbox.endAll(h.client.cfg.historySubject(), errNoLeader) }

// answer answers one question. The answer is empty when this node does not lead, so that the other
// node asks again.
func (h *History) answer(m *nats.Msg) {
	q, err := decodeQuestion(m.Data)
	if err != nil || m.Reply == "" {
		return
	}
	if q.unregistered != "" {
		h.client.membership.addUnregistered(q.unregistered) // before the index is read
	}
	h.mu.Lock()
	term := h.term
	h.mu.Unlock()
	pages := make([]bridge.Replay, len(q.queries))
	here := term != 0 && h.client.heardTerm.Load() <= term
	for i := 0; here && i < len(pages); i++ {
		pages[i], here = h.here(q.queries[i])
		here = here && pages[i].Term == term
	}
	var data []byte
	if here {
		data = encodePages(term, pages, h.client.conn.maxPayload())
	}
	if err := respond(m, data); err != nil {
		h.log.Debug("question for histories not answered", "err", err)
	}
}

// ask sends a query with the next question, and waits for its page.
func (h *History) ask(ctx context.Context, q bridge.HistoryQuery) (bridge.Replay, error) {
	r := &historyRead{query: q, page: make(chan historyPage, 1)}
	h.mu.Lock()
	h.waiting = append(h.waiting, r)
	h.mu.Unlock()
	h.send()
	select {
	case p := <-r.page:
		return p.Replay, p.err
	case <-ctx.Done():
		return bridge.Replay{}, context.Cause(ctx)
	}
}

// send sends the queries that wait, as far as historyCalls allows.
func (h *History) send() {
	for {
		h.mu.Lock()
		n := min(len(h.waiting), queriesPerCall)
		if n == 0 || h.calls == historyCalls {
			h.mu.Unlock()
			return
		}
		reads := h.waiting[:n:n]
		h.waiting = h.waiting[n:]
		h.calls++
		h.mu.Unlock()
		h.call(reads)
	}
}

// call sends one question, and gives each query its page.
func (h *History) call(reads []*historyRead) {
	c := h.client
	q := question{queries: make([]bridge.HistoryQuery, len(reads))}
	for i, r := range reads {
		q.queries[i] = r.query
	}
	if c.membership.unregistered.Load() {
		q.unregistered = c.node
	}
	end := func(pages []bridge.Replay, err error) {
		for i, r := range reads {
			p := historyPage{err: err}
			if err == nil {
				p.Replay = pages[i]
			}
			r.page <- p
		}
		h.mu.Lock()
		h.calls--
		h.mu.Unlock()
		h.send()
	}
	r := c.inbox.request(c.cfg.historySubject(), historyLimit, func(m *nats.Msg, err error) {
		var pages []bridge.Replay
		var term uint64
		absent := errors.Is(err, bridge.ErrNodeGone) || errors.Is(err, errUnsent) || err == nil && len(m.Data) == 0
		switch {
		case absent:
		case errors.Is(err, errNoReply):
			err = errNoLeader
		case err == nil:
			pages, term, err = decodePages(m.Data, q.queries)
			absent = err == nil && term < c.heardTerm.Load() // a leader of the past does not know the newest messages
		}
		if absent {
			// The question keeps its place for a moment. Otherwise thousands of queries that wait for
			// a leader would be sent again without a pause.
			time.AfterFunc(leaderEvery, func() { end(nil, errNoLeader) })
			return
		}
		end(pages, err)
	})
	if err := r.send(encodeQuestion(q)); err != nil {
		r.end(nil, err)
	}
}

// fetch reads from the stream the payloads that the leader does not have in memory. A message that
// the stream does not have any more is a gap.
func (h *History) fetch(ctx context.Context, page *bridge.Replay) error {
	var missing []*bridge.Envelope
	for _, e := range page.Entries {
		if e.Topic == "" {
			missing = append(missing, e)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	stream := h.client.streams.state().stream
	if stream == nil {
		return fmt.Errorf("%w: %w", bridge.ErrUnavailable, errUnseen)
	}
	var (
		wg     sync.WaitGroup
		free   = make(chan struct{}, fetches)
		mu     sync.Mutex // guards failed
		failed error
	)
	for _, e := range missing {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			if err := h.fetchOne(ctx, stream, e); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = err
			}
		})
	}
	wg.Wait()
	if failed != nil {
		h.client.streams.look() // it may have been made again
		return failed
	}
	kept := page.Entries[:0]
	for _, e := range page.Entries {
		if e.Topic == "" {
			page.Gap = true
			continue
		}
		kept = append(kept, e)
	}
	page.Entries = kept
	return nil
}

// fetchOne reads one message. It does not change the envelope when the stream does not have the message.
func (h *History) fetchOne(ctx context.Context, stream jetstream.Stream, e *bridge.Envelope) error {
	ctx, cancel := context.WithTimeout(ctx, historyLimit)
	defer cancel()
	raw, err := stream.GetMsg(ctx, e.Offset.Seq)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("%w: read message %d: %w", bridge.ErrUnavailable, e.Offset.Seq, err)
	}
	got, err := bridge.Decode(&bridge.Message{Offset: e.Offset, Subject: raw.Subject, Topic: strings.TrimPrefix(raw.Subject, h.client.cfg.SubjectPrefix+"."), Header: raw.Header, Body: raw.Data})
	if err == nil && got.User == e.User {
		e.Topic, e.Payload = got.Topic, got.Payload
	}
	return nil
}
