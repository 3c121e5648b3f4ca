package subscriber

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// reading is a node that keeps an index and answers from it when it leads.
type readingNode struct {
	*Client
	index   *bridge.Index
	history *History
	intake  *Intake
	stop    func()
	mu      sync.Mutex
	handed  bridge.Offset
}

// reads runs a node whose index has so much memory. before is called with each batch before it enters
// the index.
func reads(t *testing.T, s *natstest.Instance, node bridge.NodeID, memory int) *readingNode {
	t.Helper()
	return readsWith(t, ready(t, s, node), memory)
}

// leadsAndStandsBy starts two: a leads and b stands by.
func leadsAndStandsBy(t *testing.T, s *natstest.Instance) (a, b *readingNode) {
	t.Helper()
	a = reads(t, s, "a", 1<<20)
	waitFor(t, "a leads", a.intake.Leading)
	return a, reads(t, s, "b", 1<<20)
}

func readsWith(t *testing.T, c *Client, memory int, before ...func(batch []bridge.Message)) *readingNode {
	t.Helper()
	n := &readingNode{Client: c}
	n.index = bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 1000, MaxMemory: memory})
	n.history = n.NewHistory(n.index)
	keep := func(batch []bridge.Message) {
		for _, hook := range before {
			hook(batch)
		}
		var entries []*bridge.Envelope
		for i := range batch {
			if e, err := bridge.Decode(&batch[i]); err == nil {
				entries = append(entries, &e)
			}
		}
		n.index.Append(entries)
		n.index.Advance(batch[len(batch)-1].Offset)
	}
	n.intake = n.NewIntake(n.index, n.history, IntakeConfig{Window: time.Hour}, IntakeHandler{
		Keep: keep, Begin: func(uint64) {}, End: func(uint64) {},
		Route: func(_ context.Context, _ uint64, batch []bridge.Message) error {
			keep(batch)
			n.mu.Lock()
			defer n.mu.Unlock()
			n.handed = batch[len(batch)-1].Offset
			return nil
		},
		Handed: func() bridge.Offset {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.handed
		},
	})
	done := make(chan error, 1)
	go func() { done <- n.intake.Run(context.Background()) }()
	n.stop = sync.OnceFunc(func() {
		if err := errors.Join(n.intake.Drain(context.Background()), <-done); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

// say publishes messages for a user, which are numbered from first on.
func (n *readingNode) say(t *testing.T, user string, first, count int) {
	t.Helper()
	for i := range count {
		body := fmt.Appendf(nil, `{"userId":%q,"n":%d}`, user, first+i)
		id := fmt.Sprint(user, first+i) // tried again while NATS is away
		waitFor(t, "publish", func() bool {
			_, err := n.Publish(t.Context(), Publication{Topic: "t", Body: body, ID: id})
			return err == nil
		})
	}
}

// payloads reads a user's whole history at a node.
func (n *readingNode) payloads(t *testing.T, user bridge.UserID) (list []string, page bridge.Replay) {
	t.Helper()
	waitFor(t, "an answer", func() (ok bool) {
		var err error
		page, err = n.history.Read(t.Context(), bridge.HistoryQuery{User: user, Limit: 1000})
		return err == nil
	})
	for _, e := range page.Entries {
		list = append(list, e.Topic+string(e.Payload))
	}
	return list, page
}

func numbered(first, count int) (list []string) {
	for i := range count {
		list = append(list, fmt.Sprintf(`t{"n":%d}`, first+i))
	}
	return list
}

// Each node has the history from the leader, and what the leader does not have in memory from
// the stream. The leader's end changes nothing: the next one has read the stream too.
func TestHistoryOfEachNode(t *testing.T) {
	t.Parallel()
	for name, memory := range map[string]int{"in memory": 1 << 20, "in the stream": 20_000} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Server(t)
			a := reads(t, s, "a", memory)
			waitFor(t, "a leads", a.intake.Leading)
			b := reads(t, s, "b", memory)
			a.say(t, "u", 0, 100)
			a.say(t, "v", 0, 3)
			last := bridge.Offset{Epoch: a.streams.epoch(), Seq: 103}
			waitFor(t, "both have read", func() bool { return a.index.Horizon() == last && b.index.Horizon() == last })
			for _, n := range []*readingNode{a, b} {
				got, page := n.payloads(t, "u")
				if diff := cmp.Diff(numbered(0, 100), got); diff != "" || page.Gap || page.More || page.Last.Seq != 100 || page.Horizon != last {
					t.Errorf("node %s: %+v (-want +got):\n%s", n.node, page, diff)
				}
			}
			a.stop()
			b.say(t, "u", 100, 10)
			waitFor(t, "b leads", b.intake.Leading)
			waitFor(t, "b has read", func() bool { return b.index.Horizon().Seq == 113 })
			for _, n := range []*readingNode{a, b} {
				got, page := n.payloads(t, "u")
				if diff := cmp.Diff(numbered(0, 110), got); diff != "" || page.Gap {
					t.Errorf("node %s after the change: %+v (-want +got):\n%s", n.node, page, diff)
				}
			}
		})
	}
}

// While a withdrawal is recorded its user's history has no answer, at no node: what it says about the
// message would be wrong in one case or the other. Other users' histories have.
func TestHistoryWhileAWithdrawalIsRecorded(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := leadsAndStandsBy(t, s)
	a.say(t, "u", 0, 2)
	a.say(t, "v", 0, 1)
	waitFor(t, "a has read", func() bool { return a.index.Horizon().Seq == 3 })
	b.payloads(t, "v")
	last := bridge.Offset{Epoch: a.streams.epoch(), Seq: 2}
	for _, recorded := range []bool{false, true} {
		if !a.index.Withdraw(last) {
			t.Fatal("a message that no socket was given cannot be withdrawn")
		}
		for _, n := range []*readingNode{a, b} {
			if page, err := n.history.Read(t.Context(), bridge.HistoryQuery{User: "u", Limit: 10}); !errors.Is(err, bridge.ErrUnavailable) {
				t.Errorf("node %s: %+v, %v", n.node, page, err)
			}
			n.payloads(t, "v")
		}
		want := 2
		if recorded {
			a.index.Withdrawn(last)
			want = 1
		} else {
			a.index.NotWithdrawn(last)
		}
		for _, n := range []*readingNode{a, b} {
			page, err := n.history.Read(t.Context(), bridge.HistoryQuery{User: "u", Limit: 10, Peek: true})
			if err != nil || len(page.Entries) != want || page.Gap {
				t.Errorf("node %s, recorded %v: %+v, %v", n.node, recorded, page, err)
			}
		}
	}
}

// A storm of questions is a few messages with many queries each.
func TestHistoryQuestionsGather(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := leadsAndStandsBy(t, s)
	a.say(t, "u", 0, 1)
	waitFor(t, "a has read the message", func() bool { return a.index.Horizon().Seq == 1 })
	b.payloads(t, "u")
	before := b.nc.Stats().OutMsgs
	var wg sync.WaitGroup
	for range 2000 {
		wg.Go(func() {
			if page, err := b.history.Read(t.Context(), bridge.HistoryQuery{User: "u", Limit: 10}); err != nil || len(page.Entries) != 1 {
				t.Errorf("%+v, %v", page, err)
			}
		})
	}
	wg.Wait()
	if sent := b.nc.Stats().OutMsgs - before; sent > 500 {
		t.Errorf("2000 queries were %d messages", sent)
	}
}

// A question that finds no leader is answered by the next one.
func TestHistoryWaitsForTheNextLeader(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a := ready(t, s, "a")
	index := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 10, MaxMemory: 1 << 20})
	index.Begin(bridge.Offset{Epoch: 1})
	answered, before := make(chan error, 1), a.inbox.next.Load()
	go func() {
		_, err := a.NewHistory(index).Read(t.Context(), bridge.HistoryQuery{User: "u", Limit: 10})
		answered <- err
	}()
	b := ready(t, s, "b")
	waitFor(t, "the first question has found no leader", func() bool { return a.inbox.next.Load() >= before+2 || len(answered) > 0 })
	next := b.NewHistory(index)
	if err := next.listen(); err != nil {
		t.Fatal(err)
	}
	defer next.close()
	next.open(7)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

// A leader answers no question before its index has what a leader before it has handed on: what it lacks
// would be taken for not there.
func TestHistoryOfALeaderThatIsBehind(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	first := reads(t, s, "first", 1<<20)
	waitFor(t, "first leads", first.intake.Leading)
	first.say(t, "u", 0, 100)
	waitFor(t, "first has handed on", func() bool {
		l, _, err := first.intake.election.lease.load(t.Context())
		return err == nil && l.Handed.Offset.Seq == 100
	})
	first.stop()
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	a := readsWith(t, ready(t, s, "a"), 1<<20, func(batch []bridge.Message) {
		if batch[len(batch)-1].Offset.Seq == 100 {
			once.Do(func() { close(reached) })
			<-release
		}
	})
	waitFor(t, "a leads", a.intake.Leading)
	<-reached
	if page, err := a.history.Read(t.Context(), bridge.HistoryQuery{User: "u", Limit: 1000}); err == nil {
		t.Errorf("the leader has read up to %v and answers %d messages", a.index.Horizon(), len(page.Entries))
	}
	close(release)
	if got, page := a.payloads(t, "u"); !slices.Equal(got, numbered(0, 100)) || page.Gap {
		t.Errorf("then it answers %d messages, gap %v", len(got), page.Gap)
	}
}

// A message that was withdrawn is in no history under a later leader, whether that one has read the
// message before, as a standby, or reads it first after the change.
func TestHistoryWithoutWhatWasWithdrawn(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, warm := leadsAndStandsBy(t, s)
	a.say(t, "u", 0, 3)
	for _, n := range []*readingNode{a, warm} {
		waitFor(t, "both have read", func() bool { return n.index.Horizon().Seq == 3 })
	}
	withdrawn := bridge.Offset{Epoch: a.streams.epoch(), Seq: 2}
	lease, _, err := a.intake.election.lease.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	a.Withdraw(lease.Term, withdrawn, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	a.stop()
	waitFor(t, "the standby leads", warm.intake.Leading)
	want := append(numbered(0, 1), numbered(2, 1)...)
	if got, _ := warm.payloads(t, "u"); !slices.Equal(got, want) {
		t.Errorf("the standby answers %v, want %v", got, want)
	}
	warm.stop()
	cold := reads(t, s, "c", 1<<20)
	waitFor(t, "a new node leads", cold.intake.Leading)
	if got, _ := cold.payloads(t, "u"); !slices.Equal(got, want) {
		t.Errorf("a new node answers %v, want %v", got, want)
	}
}

// A question that a leader has which hangs is answered by the next one, also when it comes before
// that one has its index.
func TestHistoryOfALeaderThatHangs(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := ready(t, s, "a"), ready(t, s, "b")
	index := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 10, MaxMemory: 1 << 20})
	index.Begin(bridge.Offset{Epoch: 1})
	asked := make(chan struct{}, 10)
	if _, err := s.Connect().Subscribe(a.cfg.historySubject(), func(*nats.Msg) { asked <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	h, next := a.NewHistory(index), b.NewHistory(index)
	answered := make(chan error, 1)
	go func() {
		_, err := h.Read(t.Context(), bridge.HistoryQuery{User: "u", Limit: 10})
		answered <- err
	}()
	<-asked
	began := time.Now()
	if err := next.listen(); err != nil {
		t.Fatal(err)
	}
	defer next.close()
	if err := b.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	h.AskAgain()
	<-asked
	next.open(7)
	if err := <-answered; err != nil || time.Since(began) > historyLimit/2 {
		t.Errorf("answered after %v: %v", time.Since(began), err)
	}
}

// Without a leader a question fails, and the answer of a leader of the past is none.
func TestHistoryWithoutALeader(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	index := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 10, MaxMemory: 1 << 20})
	index.Begin(bridge.Offset{Epoch: 1})
	h := c.NewHistory(index)
	q := bridge.HistoryQuery{User: "u", Limit: 10}
	if _, err := h.Read(t.Context(), q); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("no leader: %v", err)
	}
	old := ready(t, s, "old")
	past := old.NewHistory(index)
	if err := past.listen(); err != nil {
		t.Fatal(err)
	}
	past.open(7)
	waitFor(t, "the leader answers", func() bool { _, err := h.Read(t.Context(), q); return err == nil })
	c.heardTerm.Store(8)
	if _, err := h.Read(t.Context(), q); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("a node that has heard of a greater term takes the answer: %v", err)
	}
	c.heardTerm.Store(0)
	old.heardTerm.Store(8)
	if _, err := h.Read(t.Context(), q); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("a leader that has heard of a greater term answers: %v", err)
	}
	old.heardTerm.Store(0)
	past.close()
	waitFor(t, "no answer after its end", func() bool { _, err := h.Read(t.Context(), q); return err != nil })
}

// A question that cannot be sent leaves nothing behind, so that an outage of NATS costs no memory.
func TestHistoryQuestionsThatAreNotSent(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	h := c.NewHistory(bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 10, MaxMemory: 1 << 20}))
	waiting := func() (n int) {
		c.inbox.requests.Range(func(any, any) bool { n++; return true })
		return n
	}
	s.Shutdown()
	waitFor(t, "the node has noticed", func() bool { return c.conn.err() != nil })
	before := waiting()
	for range 100 {
		if _, err := h.Read(t.Context(), bridge.HistoryQuery{User: "u", Limit: 10}); !errors.Is(err, bridge.ErrUnavailable) {
			t.Fatalf("a question without NATS: %v", err)
		}
	}
	if n := waiting() - before; n != 0 {
		t.Errorf("%d answers are still expected", n)
	}
}

// A node whose sockets the store does not know is sent everything by the time that it has an
// answer, and not any more when it has not said so for a while.
func TestNodesThatCannotRegister(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := leadsAndStandsBy(t, s)
	b.payloads(t, "u")
	if got := a.Unregistered(); len(got) > 0 {
		t.Errorf("%v are sent everything, and have not asked for it", got)
	}
	for _, n := range []*readingNode{b, a} {
		n.SetUnregistered(true)
		n.payloads(t, "u")
		if got := a.Unregistered(); !slices.Contains(got, n.node) {
			t.Errorf("%v are sent everything, want also %s", got, n.node)
		}
	}
	if err := b.ReceiveForwards(func([]*bridge.Envelope, func([]bridge.Count)) {}, func() {}); err != nil {
		t.Fatal(err)
	}
	a.SetUnregistered(false)
	if got := a.Unregistered(); !slices.Contains(got, "a") {
		t.Errorf("%v are sent everything, want also a, whose users may have been looked up before they were registered", got)
	}
	a.membership.mu.Lock()
	a.membership.nodes = map[bridge.NodeID]nodeStatus{"a": {unregistered: time.Now().Add(-2 * unregisteredFor)}} // as a new leader, later
	a.membership.mu.Unlock()
	waitFor(t, "b has said so again", func() bool { return slices.Equal(a.Unregistered(), []bridge.NodeID{"b"}) })
}

func FuzzHistory(f *testing.F) {
	f.Add(encodeQuestion(question{"n", []bridge.HistoryQuery{{User: "u", After: bridge.Offset{Epoch: 1, Seq: 2}, Limit: 3, Peek: true}}}))
	e := &bridge.Envelope{User: "u", Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: 1, Seq: 9}}
	f.Add(encodePages(4, []bridge.Replay{{Entries: []*bridge.Envelope{e}, Gap: true}}, 1000))
	f.Fuzz(func(t *testing.T, data []byte) {
		if asked, err := decodeQuestion(data); err == nil {
			again, err := decodeQuestion(encodeQuestion(asked))
			if diff := cmp.Diff(asked, again, cmp.AllowUnexported(question{})); err != nil || diff != "" {
				t.Error(err, diff)
			}
		}
		queries := []bridge.HistoryQuery{{User: "u"}}
		if pages, term, err := decodePages(data, queries); err == nil {
			for _, e := range pages[0].Entries {
				if e.Topic == "" {
					e.Payload = nil // it is not sent
				}
			}
			again, _, err := decodePages(encodePages(term, pages, 1<<20), queries)
			if diff := cmp.Diff(pages, again); err != nil || diff != "" {
				t.Error(err, diff)
			}
		}
	})
}
