package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// tab is one socket object of a client, which lives through several connections.
type tab struct {
	world  *world
	name   string
	form   cursorForm
	chosen string // for noCursor
	user   bridge.UserID
	pid    string
	cursor string // the last text of an event
	forged bool   // no event had it
	conn   *tabConn

	seg *segment // of what it is shown; nil when it is not mapped
}

// segment is what a tab is shown from a mapping on, as long as it continues from there.
type segment struct {
	user  bridge.UserID
	first int // messages of the user routed when it was mapped: from the next one on none may be missing; -1: mapping
	shown []uint64
	told  bool
}

// tabConn is one connection of a tab. What is sent waits until the tab reads it.
type tabConn struct {
	tab    *tab
	node   *worldNode
	socket *socket
	id     string
	pid    string
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex // guards what follows
	queue []tabPacket
	cut   bool // the client is gone
	done  sync.Once
}

func (c *tabConn) ID() string { return c.id }

func (c *tabConn) PID() string { return c.pid }

func (c *tabConn) Emit(name string, args ...any) error {
	return c.put(eventText(name, args), c.socket.registration().User)
}

func (c *tabConn) EmitWithAck(name string, _ time.Duration, args []any, done sio.AckFunc) error {
	err := c.put(eventText(name, args), c.socket.user)
	time.Sleep(50 * time.Microsecond) // so that sockets are mapped to other users meanwhile
	if err == nil {                   // half of the clients confirm; how late does not matter
		if err := errGone; len(c.id)%2 == 0 {
			go done(nil, err)
		} else {
			go done(nil, nil)
		}
	}
	return err
}

func (c *tabConn) WaitDrained(context.Context, int) error { return c.ctx.Err() }

func (c *tabConn) Pending() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.queue)
}

func (c *tabConn) Close(string) { c.cancel() }

func (c *tabConn) Queue(p *sio.Packet) error { return c.put(p.String(), c.socket.user) } // called with the socket's lock held

func (c *tabConn) Push(p *sio.Packet) error { return c.put(p.String(), c.socket.user) }

func eventText(name string, args []any) string {
	text, err := json.Marshal(append([]any{name}, args...))
	if err != nil {
		panic(err)
	}
	return "2" + string(text)
}

// tabPacket is a packet and whose socket it was when the packet was sent.
type tabPacket struct {
	text string
	user bridge.UserID
}

func (c *tabConn) put(text string, user bridge.UserID) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return errGone
	}
	c.queue = append(c.queue, tabPacket{text, user})
	if name, n, _ := readEvent(text); name == "t" {
		c.node.world.wasSent(user, n)
	}
	return nil
}

// readEvent reads `2["name",{"n":1},"cursor"]`.
func readEvent(text string) (name string, n uint64, last string) {
	var args []json.RawMessage
	if json.Unmarshal([]byte(text[1:]), &args) != nil {
		panic(text)
	}
	var payload struct{ N uint64 }
	_ = json.Unmarshal(args[0], &name)
	_ = json.Unmarshal(args[1], &payload)
	_ = json.Unmarshal(args[len(args)-1], &last) // else it is no text
	if len(args) == 1 {
		last = ""
	}
	return name, payload.N, last
}

// read has the tab read up to so many packets; a negative number means all.
func (c *tabConn) read(most int) {
	c.mu.Lock()
	if c.cut {
		c.mu.Unlock()
		return
	}
	if most < 0 || most > len(c.queue) {
		most = len(c.queue)
	}
	packets := slices.Clone(c.queue[:most])
	c.queue = c.queue[most:]
	c.mu.Unlock()
	for _, p := range packets {
		name, n, last := readEvent(p.text)
		if last != "" && c.tab.form != noCursor {
			c.tab.cursor, c.tab.forged = last, false
		}
		switch {
		case c.tab.seg == nil || c.tab.seg.user != p.user: // of the user before
		case name == "error" && strings.Contains(p.text, "HISTORY_GAP"):
			c.tab.seg.told = true
		case name == "t":
			c.tab.show(n)
		}
	}
}

func (t *tab) show(n uint64) {
	if last := len(t.seg.shown) - 1; last >= 0 && n <= t.seg.shown[last] {
		t.world.t.Errorf("%s of %s is shown %d after %v", t.name, t.seg.user, n, t.seg.shown)
	}
	t.seg.shown = append(t.seg.shown, n)
}

// lose forgets what was shown behind the cursor: it may come again, unless the cursor ends
// each event and all that was sent was read. A client without a cursor begins a new count,
// because what was written to it may have been lost.
func (t *tab) lose(unread int) {
	if t.seg == nil || t.form == cursorArgument && unread == 0 {
		return
	}
	if t.form == noCursor {
		t.seg.shown = nil
		return
	}
	if c, err := bridge.ParseCursor(t.cursor); err == nil && c.Tag == bridge.UserTag(t.seg.user) {
		t.seg.shown = slices.DeleteFunc(t.seg.shown, func(n uint64) bool { return n > c.Offset.Seq })
	}
}

func (t *tab) login(user bridge.UserID) {
	if t.user != user {
		t.user, t.seg = user, nil
	}
}

// connect is what the client's library and the server do. The tab says setUserId once it
// is connected, also when it is recovered.
func (t *tab) connect(n *worldNode, pid, cursor string) {
	w := t.world
	c := &tabConn{tab: t, node: n, id: fmt.Sprintf("%s-%d", t.name, rand.Uint64()), pid: fmt.Sprintf("p%d", rand.Uint64())}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.socket = &socket{conn: c, cursors: t.form, chosen: t.chosen}
	t.conn = c
	if t.forged {
		// It begins anew, at the inbox, at now, or where it says. What was on its way to an
		// earlier connection of it may be in the gap that it is told of.
		t.seg = nil
	}
	session, after, recovered := bridge.Session{}, bridge.Offset{}, false
	if pid != "" && cursor != "" {
		session, after, recovered = n.hub.restore(c.ctx, nil, pid, cursor)
	}
	if recovered {
		c.id, c.pid = string(session.Socket), pid
		n.mu.Lock()
		old := n.conns[c.id]
		n.mu.Unlock()
		if old != nil { // as sio.Server.restore does
			old.gone()
		}
	}
	n.mu.Lock()
	n.conns[c.id] = c
	n.mu.Unlock()
	t.pid = c.pid
	if recovered {
		if t.seg == nil || t.seg.user != session.User { // by a forged cursor
			t.seg = &segment{user: session.User, first: -1}
		}
		if err := n.hub.bind(c.ctx, c.socket, session.User, &claim{after: after}, nil); err != nil {
			w.t.Error(err)
		}
		n.hub.Flush()
		if session.User == t.user {
			return
		}
	} else {
		c.socket.claimed = presented(sio.Auth{Offset: cursor})
	}
	if t.seg == nil || t.seg.user != t.user {
		t.seg = nil
	}
	has := claimOf(c.socket.claimed, t.user)
	if t.seg != nil && t.form != noCursor && (has == nil || has.unknown) {
		t.seg = nil // it had received nothing that it could continue from
	}
	c.socket.claimed = nil
	t.set(has)
}

// set is setUserId.
func (t *tab) set(has *claim) {
	if t.seg == nil {
		t.seg = &segment{user: t.user, first: -1}
	}
	if t.conn.socket.registration().User == t.user && !t.conn.node.hub.beginsEarlier(t.conn.socket, has) {
		return
	}
	if err := t.conn.node.hub.bind(t.conn.ctx, t.conn.socket, t.user, has, nil); err != nil && t.conn.ctx.Err() == nil {
		t.world.t.Error(err)
	}
	t.conn.node.hub.Flush()
}

// leave loses what the tab has not read. The node may not notice.
func (t *tab) leave(noticed bool) {
	c := t.conn
	c.socket.mu.Lock() // a message that is to be confirmed and its cursor are queued under it
	c.mu.Lock()
	c.cut = true
	unread := len(c.queue)
	c.mu.Unlock()
	c.socket.mu.Unlock()
	t.lose(unread)
	t.conn = nil
	if noticed {
		c.gone()
	}
}

// gone is the end of a connection on its node.
func (c *tabConn) gone() {
	c.done.Do(func() {
		c.cancel()
		c.node.hub.unbind(c.socket)
		c.node.mu.Lock()
		defer c.node.mu.Unlock()
		if c.node.conns[c.id] == c {
			delete(c.node.conns, c.id)
		}
	})
}
