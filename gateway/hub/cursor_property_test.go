package hub

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// TestCursorsOfClients interleaves, at random, tabs whose clients keep cursors, or an id of
// their own, with messages on three nodes over one store: users that switch on one socket
// object, forged and foreign offsets, connections that are cut with part of what was
// sent, old connections that nobody has noticed to be gone, confirmations, lost forwards.
//
// Whatever happens: a tab is shown its user's messages in order, each once, and none is
// missing since it was mapped, unless it was told. And every message of a user has
// been sent to one of the user's sockets, or waits for the next one.
func TestCursorsOfClients(t *testing.T) {
	t.Parallel()
	propertyRounds(t, 2400, 600, func(t *testing.T, seed uint64, open openStore) (what string) {
		w := newWorld(t, seed, open)
		w.play()
		w.check()
		w.close()
		return fmt.Sprint("net ", w.net)
	})
}

// Nets that a round does without, so that they do not hide each other.
const (
	allNets       = iota
	noChain       // messages do not name the one before
	noFinalResync // and no forward is lost
	latestOnly    // only the newest socket of a user is pushed to
	nets
)

// play runs publisher and tabs side by side, in some steps.
func (w *world) play() {
	const term = 1
	w.route.Begin(term)
	for range 6 {
		batch := w.batch()
		var step sync.WaitGroup
		for _, act := range w.actions() {
			step.Go(act)
		}
		if len(batch) > 0 {
			if err := w.route.Route(context.Background(), term, batch); err != nil {
				w.t.Error(err)
			}
		}
		step.Wait()
		for _, m := range batch {
			for _, u := range w.users {
				if strings.Contains(string(m.Body), string(u)) {
					w.of[u] = append(w.of[u], m.Offset.Seq)
				}
			}
		}
		for _, t := range w.tabs {
			if t.seg != nil && t.seg.first < 0 {
				t.seg.first = len(w.of[t.seg.user])
			}
		}
	}
	w.route.End(term)
}

// batch is what is published in one step. The stream has it before anybody reads it.
func (w *world) batch() (batch []bridge.Message) {
	for range w.rnd.IntN(5) {
		w.mu.Lock()
		w.end++
		seq := w.end
		w.mu.Unlock()
		user := w.users[w.rnd.IntN(len(w.users))]
		m := bridge.Message{Offset: bridge.Offset{Epoch: 1, Seq: seq}, Topic: "t", Stored: time.Now(), Body: fmt.Appendf(nil, `{"userId":%q,"n":%d}`, user, seq)}
		if w.rnd.IntN(4) == 0 {
			m.Header = map[string][]string{bridge.HeaderAck: {bridge.AckClient}}
		}
		batch = append(batch, m)
	}
	return batch
}

// actions are what tabs do in one step, at most one each; the plan is drawn here, on one
// goroutine, so that a seed repeats it.
func (w *world) actions() (acts []func()) {
	for _, t := range w.tabs {
		node := w.nodes[w.rnd.IntN(len(w.nodes))]
		some := w.rnd.IntN(6)
		user := w.users[w.rnd.IntN(len(w.users))]
		forged := w.forged(t)
		switch what := w.rnd.IntN(8); {
		case t.conn == nil && what < 4:
			acts = append(acts, func() { t.connect(node, t.pid, t.cursor) })
		case t.conn == nil && what == 4: // another user logs in
			acts = append(acts, func() { t.login(user); t.connect(node, t.pid, t.cursor) })
		case t.conn == nil && what == 5:
			acts = append(acts, func() { t.cursor, t.forged = forged, true; t.connect(node, t.pid, forged) })
		case t.conn == nil:
		case what < 3:
			acts = append(acts, func() { t.conn.read(some) })
		case what == 3: // the network fails, which the node notices at once or much later
			acts = append(acts, func() { t.conn.read(some); t.leave(some%2 == 0) })
		case what == 4: // another user logs in, on the same connection
			acts = append(acts, func() { t.conn.read(-1); t.login(user); t.set(nil) })
		case what == 5:
			acts = append(acts, func() {
				t.conn.read(-1)
				t.login(user)
				c, err := bridge.ParseCursor(forged)
				if err == nil {
					t.set(explicitClaim(&c, t.user))
				} else {
					t.set(nil)
				}
			})
		}
	}
	if len(w.tabs) < 5 {
		t := &tab{world: w, name: fmt.Sprint("tab", len(w.tabs)), user: w.users[w.rnd.IntN(len(w.users))], form: cursorForm(w.rnd.IntN(3))}
		if t.form == noCursor {
			t.chosen = t.name
		}
		node := w.nodes[w.rnd.IntN(len(w.nodes))]
		w.tabs = append(w.tabs, t)
		acts = append(acts, func() { t.connect(node, "", "") })
	}
	return acts
}

// forged is a text that the tab was never given.
func (w *world) forged(t *tab) string {
	at := bridge.Offset{Epoch: 1, Seq: w.end}
	switch w.rnd.IntN(5) {
	case 0:
		at.Seq += 1 + w.rnd.Uint64N(1000)
	case 1:
		at.Epoch = 2
	case 2:
		at = bridge.Offset{Epoch: 1<<64 - 1, Seq: 1<<64 - 1}
	}
	switch w.rnd.IntN(4) {
	case 0:
		return at.String()
	case 1:
		return bridge.Cursor{Offset: at, Tag: bridge.UserTag("mallory")}.String()
	case 2:
		return "nonsense"
	}
	return bridge.Cursor{Offset: at, Tag: bridge.UserTag(t.user)}.String()
}

// check holds what each tab was shown against what was published.
func (w *world) check() {
	w.settle()
	if err := w.route.Ledger().Balance().Err(); err != nil {
		w.t.Error(err)
	}
	for _, t := range w.tabs {
		if t.conn == nil || t.conn.ctx.Err() != nil || t.seg == nil || t.conn.socket.registration().User != t.seg.user {
			continue
		}
		t.conn.read(-1)
		all := w.of[t.seg.user]
		tail := all[min(max(t.seg.first, 0), len(all)):]
		if w.net == latestOnly {
			continue // by design, a socket that is not the newest misses some
		}
		want := tail
		if len(t.seg.shown) > 0 && !t.seg.told {
			if i := slices.Index(all, t.seg.shown[0]); i >= 0 && i <= len(all)-len(tail) {
				want = all[i:]
			}
		}
		got := t.seg.shown
		if t.seg.told || t.form == noCursor { // what came before may have a hole that it was told of
			got = got[max(0, len(got)-len(want)):]
			if t.form == noCursor && len(got) < len(want) {
				want = want[len(want)-len(got):]
			}
		}
		if !slices.Equal(got, want) {
			w.t.Errorf("%s (form %d) of %s, mapped after %d messages, told %t, is shown %v of %v", t.name, t.form, t.seg.user, t.seg.first, t.seg.told, t.seg.shown, all)
		}
	}
	for _, n := range w.nodes { // everybody leaves
		n.mu.Lock()
		var conns []*tabConn
		for _, c := range n.conns {
			conns = append(conns, c)
		}
		n.mu.Unlock()
		for _, c := range conns {
			c.gone()
		}
	}
	w.tabs = nil
	for i, user := range w.users {
		t := &tab{world: w, name: "fresh", user: user, form: cursorArgument}
		t.connect(w.nodes[i], "", "")
		t.conn.read(-1)
		for _, n := range w.of[user] {
			if !w.sent[user][n] {
				w.t.Errorf("%d of %v was never sent to a socket of %s", n, w.of[user], user)
			}
		}
		t.conn.gone()
	}
}
