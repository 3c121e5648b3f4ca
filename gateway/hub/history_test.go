package hub

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/store"
)

// testIndex is the history of tests: an index of a stream of epoch 1 that has every payload.
type testIndex struct{ bridgetest.History }

func newIndex() testIndex {
	x := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 1000, MaxMemory: 1 << 30})
	x.Begin(bridge.Offset{Epoch: 1})
	return testIndex{bridgetest.History{Index: x}}
}

// put appends a message of a user and returns it as the router would push it.
func (x testIndex) put(user bridge.UserID, seq uint64) *bridge.Envelope {
	e := &bridge.Envelope{User: user, Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: 1, Seq: seq}, Stored: time.Now()}
	e.Before = x.Append([]*bridge.Envelope{e})[0].Before
	return e
}

// scriptedHistory leaves each answer to the test.
type scriptedHistory chan scriptedQuery

type scriptedQuery struct {
	bridge.HistoryQuery
	answer chan<- scriptedAnswer
}

type scriptedAnswer struct {
	page bridge.Replay
	err  error
}

func (h scriptedHistory) Read(ctx context.Context, q bridge.HistoryQuery) (bridge.Replay, error) {
	answer := make(chan scriptedAnswer, 1)
	select {
	case h <- scriptedQuery{q, answer}:
	case <-ctx.Done():
		return bridge.Replay{}, context.Cause(ctx)
	}
	select {
	case a := <-answer:
		return a.page, a.err
	case <-ctx.Done():
		return bridge.Replay{}, context.Cause(ctx)
	}
}

func (q scriptedQuery) of(x testIndex) {
	q.answer <- scriptedAnswer{page: x.Index.Read(q.HistoryQuery)}
}
func (q scriptedQuery) fails() { q.answer <- scriptedAnswer{err: bridge.ErrUnavailable} }

// scriptedStream reaches so far.
type scriptedStream struct {
	end    bridge.Offset
	failed atomic.Int64 // how often it does not answer
}

func (s *scriptedStream) Reaches(_ context.Context, o bridge.Offset) (bool, error) {
	if s.failed.Add(-1) >= 0 {
		return false, bridge.ErrUnavailable
	}
	return !o.After(s.end), nil
}

// scriptConn counts the gaps that its client is told of.
type scriptConn struct {
	*pageConn
	gaps atomic.Int64
}

func (c *scriptConn) Emit(name string, args ...any) error {
	if e, ok := args[0].(clientError); ok && name == "error" && e.Type == "HISTORY_GAP" {
		c.gaps.Add(1)
	}
	return nil
}

// script is one socket of the user "u" on a hub whose history is scripted, in a bubble.
type script struct {
	t       *testing.T
	hub     *Hub
	store   *store.MemoryNode
	history scriptedHistory
	index   testIndex // what the leader has
	stream  *scriptedStream
	conn    *scriptConn
	socket  *socket
	bound   chan error
	away    atomic.Int64 // how often the client was told that it waits
}

func scripted(t *testing.T, play func(s *script)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := &script{t: t, store: store.NewMemory(store.Limits{}).Node("n"), history: make(scriptedHistory), index: newIndex(), stream: new(scriptedStream), bound: make(chan error, 1)}
		if _, err := s.store.Beat(ctx); err != nil {
			t.Fatal(err)
		}
		s.hub = New(s.store, s.history, Config{MaxPending: 1 << 20, SessionTTL: time.Hour, Stream: s.stream}, slog.New(slog.DiscardHandler))
		s.conn = &scriptConn{pageConn: &pageConn{page: &page{user: "u"}, id: "s", ctx: ctx, cancel: stop}}
		s.socket = &socket{conn: s.conn, cursors: cursorArgument}
		ran := make(chan struct{})
		go func() { defer close(ran); s.hub.Run(ctx) }()
		defer func() { stop(); <-ran }()
		play(s)
	})
}

// bind begins to map the socket; bound tells when it is done.
func (s *script) bind(c *claim) {
	go func() { s.bound <- s.hub.bind(s.conn.ctx, s.socket, "u", c, func() { s.away.Add(1) }) }()
}

// isBound waits until the socket is mapped.
func (s *script) isBound() {
	s.t.Helper()
	select {
	case err := <-s.bound:
		if err != nil {
			s.t.Fatal(err)
		}
	case q := <-s.history:
		s.t.Fatalf("asked for %+v, want the socket mapped", q.HistoryQuery)
	}
}

// asked waits for the next question, which must begin after a sequence.
func (s *script) asked(after uint64) scriptedQuery {
	s.t.Helper()
	var q scriptedQuery
	select {
	case q = <-s.history:
	case <-time.After(time.Minute):
		s.t.Fatalf("nothing is asked, want after %d", after)
	}
	if q.After.Seq != after || q.User != "u" || q.Peek {
		s.t.Errorf("asked for %+v, want after %d", q.HistoryQuery, after)
	}
	return q
}

// silent holds that nothing is asked now.
func (s *script) silent() {
	s.t.Helper()
	synctest.Wait()
	select {
	case q := <-s.history:
		s.t.Fatalf("asked for %+v", q.HistoryQuery)
	default:
	}
}

// push pushes a message and holds what the hub says of it.
func (s *script) push(e *bridge.Envelope, want bridge.Count) {
	s.t.Helper()
	if got := s.hub.Push(e); got != want {
		s.t.Errorf("pushing %v: %+v, want %+v", e.Offset, got, want)
	}
}

// got holds what the client was given, and how many gaps it was told of.
func (s *script) got(gaps int64, want ...uint64) {
	s.t.Helper()
	synctest.Wait()
	s.conn.page.mu.Lock()
	defer s.conn.page.mu.Unlock()
	var got []uint64
	for _, o := range s.conn.page.got {
		got = append(got, o.Seq)
	}
	if !slices.Equal(got, want) || s.conn.gaps.Load() != gaps {
		s.t.Errorf("got %v and %d gaps, want %v and %d", got, s.conn.gaps.Load(), want, gaps)
	}
}

var (
	took = bridge.Count{Took: 1}
	seen = bridge.Count{Seen: 1}
)

func at(seq uint64) bridge.Offset { return bridge.Offset{Epoch: 1, Seq: seq} }

// TestRegisterThenAsk: a message that is indexed while a socket comes is in the answer, or is
// pushed, or both, and is given once. Whoever is looked up after the question is registered.
func TestRegisterThenAsk(t *testing.T) {
	t.Parallel()
	registered := func(s *script) {
		if found := s.store.Locate(s.t.Context(), []bridge.UserID{"u"}); len(found[0].Sockets) != 1 {
			s.t.Errorf("located at the question: %+v", found)
		}
	}
	t.Run("in the answer", func(t *testing.T) {
		scripted(t, func(s *script) {
			s.bind(nil)
			q := s.asked(0)
			registered(s)
			e := s.index.put("u", 1) // its look-up was before
			q.of(s.index)
			s.isBound()
			s.silent()
			s.push(e, seen) // of another socket, that this one has left
			s.got(0, 1)
		})
	})
	t.Run("pushed", func(t *testing.T) {
		scripted(t, func(s *script) {
			s.bind(nil)
			q := s.asked(0)
			q.of(s.index)
			s.isBound()
			s.push(s.index.put("u", 1), took)
			s.silent()
			s.got(0, 1)
		})
	})
	t.Run("pushed before the answer", func(t *testing.T) {
		scripted(t, func(s *script) {
			s.bind(nil)
			q := s.asked(0)
			old := s.index.Index.Read(q.HistoryQuery)
			e1, e2 := s.index.put("u", 1), s.index.put("u", 2)
			e1.Before, e2.Before = bridge.Offset{}, bridge.Offset{}
			s.push(e2, took) // e1 is lost
			s.got(0)         // it must not overtake e1
			q.answer <- scriptedAnswer{page: old}
			s.asked(0).of(s.index)
			s.isBound()
			s.push(e1, seen)
			s.got(0, 1, 2)
		})
	})
	t.Run("both", func(t *testing.T) {
		scripted(t, func(s *script) {
			s.bind(nil)
			q := s.asked(0)
			s.push(s.index.put("u", 1), took)
			q.of(s.index)
			s.asked(1).of(s.index)
			s.isBound()
			s.push(s.index.put("u", 2), took)
			s.got(0, 1, 2)
		})
	})
}

// bound is a socket with the messages 1 and 2.
func boundSocket(s *script) {
	s.t.Helper()
	s.index.put("u", 1)
	s.index.put("u", 2)
	s.bind(nil)
	s.asked(0).of(s.index)
	s.isBound()
	s.got(0, 1, 2)
}

// TestAnswerOfTheLeaderBefore: a question is on its way to a leader that reads no more when
// the node hears of a new term. Its answer must not let through what comes next.
func TestAnswerOfTheLeaderBefore(t *testing.T) {
	t.Parallel()
	for name, live := range map[string]bool{"nothing live": false, "a live one meanwhile": true} {
		t.Run(name, func(t *testing.T) {
			scripted(t, func(s *script) {
				boundSocket(s)
				s.hub.Resync()
				q := s.asked(2)
				old := s.index.Index.Read(q.HistoryQuery)
				s.hub.Resync()            // the new term
				e3 := s.index.put("u", 3) // was pushed to nobody
				e4 := s.index.put("u", 4) // the chain does not show it
				e4.Before = bridge.Offset{}
				if live {
					s.push(e4, took)
				}
				q.answer <- scriptedAnswer{page: old}
				q = s.asked(2)
				s.got(0, 1, 2)
				if !live {
					s.push(e4, took)
				}
				q.of(s.index)
				if !live {
					s.asked(4).of(s.index)
				}
				s.got(0, 1, 2, 3, 4)
				s.push(e3, seen)
			})
		})
	}
}

// TestTermsThatGoBack: the bucket of the lease was lost. A leader of a smaller term, whose
// horizon is behind, answers and dispatches what was dispatched before; sockets go by
// offsets, and nothing is lost or given twice.
func TestTermsThatGoBack(t *testing.T) {
	scripted(t, func(s *script) {
		behind := newIndex()
		behind.put("u", 1)
		s.index.put("u", 1)
		s.index.put("u", 2)
		s.index.Advance(at(9))
		s.bind(nil)
		q := s.asked(0)
		page := s.index.Index.Read(q.HistoryQuery)
		page.Term = 7
		q.answer <- scriptedAnswer{page: page}
		s.isBound()
		s.hub.Resync()
		q = s.asked(2)
		page = behind.Index.Read(q.HistoryQuery)
		page.Term = 3
		q.answer <- scriptedAnswer{page: page}
		s.silent()
		s.push(behind.put("u", 2), seen)
		s.push(behind.put("u", 5), took) // the other one's horizon was beyond that
		s.silent()
		s.got(0, 1, 2, 5)
		if last := s.socket.lastGiven(); last != at(5) {
			s.t.Errorf("the socket is at %v", last)
		}
	})
}

// TestHorizonIsNoOffset: a socket that was told a horizon is given what is before it, as
// another leader may bring it.
func TestHorizonIsNoOffset(t *testing.T) {
	scripted(t, func(s *script) {
		s.index.Advance(at(100))
		s.bind(nil)
		s.asked(0).of(s.index)
		s.isBound()
		s.hub.Resync()
		s.asked(0).of(s.index)
		s.silent()
		s.push(newIndex().put("u", 50), took)
		s.got(0, 50)
	})
}

// TestCursorBeyondTheLeader: a cursor that the leader has not come to is unknown only when the
// stream has not come to it either.
func TestCursorBeyondTheLeader(t *testing.T) {
	t.Parallel()
	t.Run("the stream has", func(t *testing.T) {
		scripted(t, func(s *script) {
			s.stream.end = at(10)
			s.stream.failed.Store(2) // it cannot be asked at first
			s.index.put("u", 7)
			s.bind(&claim{after: at(10)})
			for range 3 {
				s.asked(10).of(s.index)
			}
			s.isBound()
			s.push(s.index.put("u", 8), seen) // which the leader before has dispatched
			s.push(s.index.put("u", 10), seen)
			s.push(s.index.put("u", 11), took)
			s.silent()
			s.got(0, 11)
			if d, _ := s.socket.deliveredTo("u"); d.From != at(10) || d.To != at(11) {
				s.t.Errorf("delivered %+v, want from 10 to 11: a claim is no evidence", d)
			}
		})
	})
	t.Run("the stream has not", func(t *testing.T) {
		scripted(t, func(s *script) {
			s.stream.end = at(9)
			s.index.put("u", 7)
			s.bind(&claim{after: at(10)})
			s.asked(10).of(s.index)
			q := s.asked(0)
			if !q.Inbox {
				s.t.Errorf("asked for %+v, want the inbox", q.HistoryQuery)
			}
			q.of(s.index)
			s.isBound()
			s.push(s.index.put("u", 8), took)
			s.got(1, 7, 8)
		})
	})
	t.Run("the store is of another stream", func(t *testing.T) {
		scripted(t, func(s *script) {
			s.stream.end = at(9)
			if err := s.store.Taken(s.t.Context(), []bridge.Delivered{{User: "u", To: at(20)}}); err != nil {
				s.t.Fatal(err)
			}
			s.index.put("u", 7)
			s.bind(nil)
			s.asked(20).of(s.index)
			s.asked(0).of(s.index)
			s.isBound()
			s.push(s.index.put("u", 8), took)
			s.got(0, 7, 8)
		})
	})
}

// TestRestoreBeyondTheLeader: the same for a session that a client comes back to. A look
// at the history is no reading: nobody is given anything yet.
func TestRestoreBeyondTheLeader(t *testing.T) {
	scripted(t, func(s *script) {
		if err := s.store.SaveSessions(s.t.Context(), map[string]bridge.Session{"pid": {User: "u", Socket: "s"}}); err != nil {
			s.t.Fatal(err)
		}
		s.stream.end = at(10)
		s.index.put("u", 7)
		for seq, want := range map[uint64]bool{7: true, 10: true, 11: false} {
			restored := make(chan bool)
			go func() {
				_, _, ok := s.hub.restore(s.t.Context(), nil, "pid", bridge.Cursor{Offset: at(seq), Tag: bridge.UserTag("u")}.String())
				restored <- ok
			}()
			q := <-s.history
			if !q.Peek {
				s.t.Errorf("asked for %+v, want to peek", q.HistoryQuery)
			}
			q.of(s.index)
			if ok := <-restored; ok != want {
				s.t.Errorf("restored after %d: %t, want %t", seq, ok, want)
			}
		}
		restored := make(chan bool)
		go func() {
			_, _, ok := s.hub.restore(s.t.Context(), nil, "pid", bridge.Cursor{Offset: at(7), Tag: bridge.UserTag("u")}.String())
			restored <- ok
		}()
		(<-s.history).fails()
		if <-restored {
			s.t.Error("restored although no leader can be asked")
		}
	})
}

// TestNoLeader: while no leader can be asked, a socket that comes and one that is brought
// up to date wait, and what is live waits with them. The client is told once that lasts: it does
// not notice a change of the leader.
func TestNoLeader(t *testing.T) {
	scripted(t, func(s *script) {
		s.bind(nil)
		for begun := time.Now(); ; {
			q := s.asked(0)
			lasts := time.Since(begun) >= delayedAfter
			q.fails()
			synctest.Wait()
			if n := s.away.Load(); n != 0 && !lasts || n != 1 && lasts {
				s.t.Errorf("the client is told %d times after %v that it waits", n, time.Since(begun))
			}
			if time.Since(begun) > 2*delayedAfter {
				break
			}
		}
		s.push(s.index.put("u", 1), took)
		s.index.put("u", 2)
		s.got(0)
		s.asked(0).of(s.index)
		s.asked(2).of(s.index)
		s.isBound()
		s.got(0, 1, 2)

		s.hub.Resync()
		for range 3 {
			s.asked(2).fails()
		}
		e3 := s.index.put("u", 3)
		s.push(s.index.put("u", 4), took)
		s.got(0, 1, 2)
		s.asked(2).of(s.index)
		s.silent()
		s.push(e3, seen)
		s.got(0, 1, 2, 3, 4)
		if s.hub.Overloaded() || s.hub.binding.Load() != 0 {
			s.t.Errorf("%d are counted as waiting", s.hub.binding.Load())
		}
	})
}

// TestGapOfALateReader: a leader that began to read later than the one before knows nothing of
// what was before. A socket that was answered for since then has missed nothing, and one
// that was not has perhaps.
func TestGapOfALateReader(t *testing.T) {
	t.Parallel()
	late := func(after uint64) testIndex {
		x := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 1000, MaxMemory: 1 << 30})
		x.Begin(at(after))
		return testIndex{bridgetest.History{Index: x}}
	}
	for name, tt := range map[string]struct {
		began uint64
		gaps  int64
	}{"before the horizon": {9, 0}, "at the horizon": {10, 0}, "after it": {11, 1}} {
		t.Run(name, func(t *testing.T) {
			scripted(t, func(s *script) {
				s.index.put("u", 1)
				s.index.Advance(at(10))
				s.bind(nil)
				s.asked(0).of(s.index)
				s.isBound()
				s.hub.Resync()
				leader := late(tt.began)
				leader.put("u", 12)
				s.asked(1).of(leader)
				s.silent()
				s.got(tt.gaps, 1, 12)
			})
		})
	}
	t.Run("another epoch", func(t *testing.T) {
		scripted(t, func(s *script) {
			s.index.put("u", 1)
			s.index.put("u", 2)
			s.index.Advance(at(10))
			s.bind(nil)
			s.asked(0).of(s.index)
			s.isBound()
			s.index.Branch(bridge.Offset{Epoch: 2, Seq: 1}) // what came after 1 is lost
			s.hub.Resync()
			s.asked(2).of(s.index)
			s.silent()
			s.got(1, 1, 2)
		})
	})
}

// TestTooManyNeedsThePlaces: without an answer where the user's sockets are nobody is
// refused, and the socket is registered again until there is one.
func TestTooManyNeedsThePlaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		st := &blindStore{MemoryNode: store.NewMemory(store.Limits{}).Node("n")}
		st.blind.Store(2)
		if _, err := st.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := New(st, newIndex(), Config{MaxPending: 1 << 20, MaxPerUser: 1}, slog.New(slog.DiscardHandler))
		open := func(id string) error {
			return h.bind(t.Context(), &socket{conn: &pageConn{page: &page{}, id: id, ctx: t.Context()}}, "u", nil, nil)
		}
		if err := open("first"); err != nil {
			t.Fatal(err)
		}
		if err := open("second"); !errors.Is(err, errTooManySockets) || st.blind.Load() >= 0 {
			t.Errorf("the second one: %v", err)
		}
	})
}

// blindStore does not know at first where sockets are.
type blindStore struct {
	*store.MemoryNode
	blind atomic.Int64
}

func (s *blindStore) Locate(ctx context.Context, users []bridge.UserID) []bridge.Located {
	if s.blind.Add(-1) >= 0 {
		found := make([]bridge.Located, len(users))
		for i := range found {
			found[i].Err = bridge.ErrUnavailable
		}
		return found
	}
	return s.MemoryNode.Locate(ctx, users)
}
