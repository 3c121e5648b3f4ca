package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
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
	// queriesPerCall is how many queries one question has at most.
	queriesPerCall = 64
	// historyCalls is how many questions of this node may wait for their answer. What is asked
	// meanwhile gathers, so a storm of clients makes few questions of many queries.
	historyCalls = 4
	// historyLimit bounds how long the leader may take to answer, and how long a query waits for
	// the next leader.
	historyLimit = 2 * time.Second
	// leaderEvery is how often each of the questions of this node is asked again while no leader
	// answers.
	leaderEvery = 20 * time.Millisecond
	// unregisteredFor is how long a node is sent everything after it has asked for that, and
	// unregisteredEvery how often it asks again.
	unregisteredFor   = 5 * time.Second
	unregisteredEvery = time.Second
	// fetches is how many messages are read from the stream at once.
	fetches = 16
)

var (
	errNoLeader  = fmt.Errorf("%w: no leader answers for histories", bridge.ErrUnavailable)
	errUndecided = fmt.Errorf("%w: a withdrawal is on its way", bridge.ErrUnavailable)
)

// History answers what sockets have missed, from the index of the leader: this process's when
// it leads, else by a question over NATS. It implements [bridge.History].
type History struct {
	client *Client
	index  *bridge.Index
	log    *slog.Logger

	kick chan struct{} // capacity 1: say so now

	mu      sync.Mutex                  // guards all below
	nodes   map[bridge.NodeID]time.Time // that have such sockets, and when they last said so
	said    time.Time                   // when a leader last knew that this node has
	term    uint64                      // that this node leads and answers for; zero: none
	sub     *nats.Subscription
	calls   int               // questions of this node that wait for their answer
	again   map[string]func() // ends each of those, by its subject, to be asked again
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

// NewHistory makes the history of this node. The intake that keeps the same index has it answer.
func (c *Client) NewHistory(index *bridge.Index) *History {
	return &History{
		client: c, index: index, log: c.root.With("component", "history"),
		kick: make(chan struct{}, 1), nodes: make(map[bridge.NodeID]time.Time), again: make(map[string]func()),
	}
}

// SetUnregistered says whether this node has sockets that the store does not know of. The leader
// then sends it every message, from the next [History.Read] on that succeeds.
func (h *History) SetUnregistered(unregistered bool) {
	if h.client.roster.unregistered.Swap(unregistered) != unregistered && unregistered {
		h.client.roster.say()
		h.mu.Lock()
		h.said = time.Time{}
		h.mu.Unlock()
		signal(h.kick)
	}
}

// Run repeats to the leader that this node has sockets that the store does not know of, while it
// has any, until ctx ends.
func (h *History) Run(ctx context.Context) {
	tick := time.NewTicker(unregisteredEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-h.kick:
		case <-ctx.Done():
			return
		}
		if !h.client.roster.unregistered.Load() {
			continue
		}
		h.mu.Lock()
		if h.term != 0 {
			h.nodes[h.client.node] = time.Now()
		} else if h.calls < historyCalls {
			h.calls++
			h.mu.Unlock()
			h.call(nil)
			continue
		}
		h.mu.Unlock()
	}
}

// Unregistered lists the nodes that are to be sent everything: see [bridge.Routes].
func (h *History) Unregistered() (nodes []bridge.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for node, at := range h.nodes {
		if time.Since(at) > unregisteredFor {
			delete(h.nodes, node)
			continue
		}
		nodes = append(nodes, node)
	}
	return nodes
}

// Read implements [bridge.History]. While one leader follows another it waits.
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
		q.After, gap = last, page.Gap // the stream has none of them any more
	}
}

// here answers when this node leads, as far as it has heard.
func (h *History) here(q bridge.HistoryQuery) (bridge.Replay, bool) {
	h.mu.Lock()
	term := h.term
	if term != 0 && h.client.roster.unregistered.Load() {
		h.nodes[h.client.node] = time.Now() // before the index is read
	}
	h.mu.Unlock()
	if term == 0 || h.client.heardTerm.Load() > term {
		return bridge.Replay{}, false
	}
	page := h.index.Read(q)
	page.Term = term
	return page, true
}

// listen takes questions, whose askers ask again until open. A leader begins before the other nodes
// hear of its term: no answer comes to a question that only the leader before has, when it hangs.
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

// open answers questions in a term from now on, until close. It comes after listen.
func (h *History) open(term uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.term = term
}

// close answers no more.
func (h *History) close() {
	h.mu.Lock()
	sub := h.sub
	h.term, h.sub = 0, nil
	h.mu.Unlock()
	if sub != nil {
		_ = sub.Unsubscribe() // fails only when the connection is closed
	}
}

// AskAgain has the questions that wait for an answer asked again: another node leads now, and the
// one that was asked may hang.
func (h *History) AskAgain() {
	h.mu.Lock()
	again := slices.Collect(maps.Values(h.again))
	h.mu.Unlock()
	for _, ask := range again {
		ask()
	}
}

// answer answers one question. It tells a node that asks a leader of the past nothing, so that
// the node asks again.
func (h *History) answer(m *nats.Msg) {
	asked, err := decodeQuestion(m.Data)
	if err != nil || m.Reply == "" {
		return
	}
	h.mu.Lock()
	term := h.term
	if asked.unregistered != "" && term != 0 {
		h.nodes[asked.unregistered] = time.Now() // before the index is read
	}
	h.mu.Unlock()
	pages := make([]bridge.Replay, len(asked.queries))
	here := term != 0 && h.client.heardTerm.Load() <= term
	for i, q := range asked.queries {
		if pages[i], here = h.here(q); !here || pages[i].Term != term {
			here = false
			break
		}
	}
	if !here {
		_ = respond(m, nil)
		return
	}
	if err := respond(m, encodePages(term, pages, h.client.conn.maxPayload())); err != nil {
		h.log.Debug("question for histories not answered", "err", err)
	}
}

// ask has the query sent with the next question.
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

// send sends what waits, as far as questions may be on their way.
func (h *History) send() {
	for {
		h.mu.Lock()
		n := min(len(h.waiting), queriesPerCall)
		if n == 0 || h.calls == historyCalls {
			h.mu.Unlock()
			return
		}
		some := h.waiting[:n:n]
		h.waiting = h.waiting[n:]
		h.calls++
		h.mu.Unlock()
		h.call(some)
	}
}

// call sends one question, and takes its answer when it comes.
func (h *History) call(some []*historyRead) {
	queries := make([]bridge.HistoryQuery, len(some))
	for i, r := range some {
		queries[i] = r.query
	}
	asked := question{queries: queries}
	if h.client.roster.unregistered.Load() {
		asked.unregistered = h.client.node
	}
	c := h.client
	var (
		once    sync.Once
		subject string // of the answer; set before the timer can end
		late    *time.Timer
	)
	end := func(pages []bridge.Replay, err error) {
		once.Do(func() {
			late.Stop()
			c.inbox.forget(subject)
			for i, r := range some {
				p := historyPage{err: err}
				if err == nil {
					p.Replay = pages[i]
				}
				r.page <- p
			}
			h.mu.Lock()
			h.calls--
			delete(h.again, subject)
			h.mu.Unlock()
			h.send()
		})
	}
	late = time.AfterFunc(time.Hour, func() { end(nil, errNoLeader) })
	// The question keeps its place for a moment, or thousands of queries that wait for a leader
	// would be asked again without a pause.
	absent := func() { time.AfterFunc(leaderEvery, func() { end(nil, errNoLeader) }) }
	subject = c.inbox.expect(func(m *nats.Msg) {
		if noResponders(m) || len(m.Data) == 0 {
			absent()
			return
		}
		pages, term, err := decodePages(m.Data, queries)
		if err == nil && term < c.heardTerm.Load() {
			absent() // a leader of the past: a message that it does not know yet may have found no socket
			return
		}
		if err == nil && asked.unregistered != "" {
			h.told()
		}
		end(pages, err)
	})
	h.mu.Lock()
	h.again[subject] = func() { end(nil, errNoLeader) }
	h.mu.Unlock()
	late.Reset(historyLimit) // an answer that comes later finds that it has ended
	if err := c.outbox.put(outgoing{&nats.Msg{Subject: c.cfg.historySubject(), Reply: subject, Data: encodeQuestion(asked)}, func(err error) { end(nil, err) }}); err != nil {
		end(nil, err)
	}
}

// told notes that a leader knows that this node is to be sent everything. When it had not for
// too long, something may have been missed.
func (h *History) told() {
	h.mu.Lock()
	late := !h.said.IsZero() && time.Since(h.said) > unregisteredFor-unregisteredEvery
	h.said = time.Now()
	h.mu.Unlock()
	if s := h.client.served.Load(); late && s != nil {
		s.doubt()
	}
}

// fetch reads the payloads that the leader does not have in memory from the stream. A message
// that is not there any more is a gap.
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
		h.client.streams.look() // it may be another one now
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

// fetchOne reads one message. It leaves the envelope as it is when the stream has it no more.
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
