package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/sioclient"
)

// end is the offset of a message that nobody waits for: the stream's end at this moment.
func (n *node) end(t testing.TB) bridge.Offset {
	t.Helper()
	status, answer := n.sendTo(t, "/sendPayload?queue=true", `{"userId":"nobody","topic":"mark"}`)
	text, _ := answer["offset"].(string)
	at, err := bridge.ParseOffset(text)
	if status != http.StatusAccepted || err != nil {
		t.Fatalf("mark: %d %v", status, answer)
	}
	return at
}

// away waits until the user has no socket.
func (n *node) away(t testing.TB, user string) {
	t.Helper()
	waitFor(t, user+" is away", func() string {
		status, answer := n.send(t, fmt.Sprintf(`{"userId":%q,"topic":"probe"}`, user))
		return missing(status == http.StatusNotFound, fmt.Sprint(status, answer))
	})
}

// farOffsets are those that a stranger may present for a user.
var farOffsets = map[string]func(end bridge.Offset) bridge.Offset{
	"the end of the stream": func(end bridge.Offset) bridge.Offset { return end },
	"beyond the end":        func(end bridge.Offset) bridge.Offset { return bridge.Offset{Epoch: end.Epoch, Seq: end.Seq + 1_000} },
	"a later stream":        func(end bridge.Offset) bridge.Offset { return bridge.Offset{Epoch: end.Epoch + 1, Seq: 1} },
	"the greatest of all":   func(bridge.Offset) bridge.Offset { return bridge.Offset{Epoch: 1<<64 - 1, Seq: 1<<64 - 1} },
}

// TestClaimsSilenceNobody: whatever offset a client presents for a user, the client is
// sent what comes next, and what waited for the user reaches the user's next client.
func TestClaimsSilenceNobody(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	for name, far := range farOffsets {
		for _, how := range []string{"after", "token in auth", "plain in auth"} {
			t.Run(name+" as "+how, func(t *testing.T) {
				t.Parallel()
				user := t.Name()
				pub.tick(user, 0, 3)
				claim := far(n.end(t)).String()
				var options []any
				auth := map[string]any{}
				switch how {
				case "after":
					options = append(options, map[string]any{"after": claim})
				case "token in auth":
					auth["offset"] = claim + "." + bridge.UserTag(bridge.UserID(user))
				case "plain in auth":
					auth["offset"] = claim
				}
				stranger := open(t, n.url, transports["websocket"], auth)
				stranger.setUser(user, options...)
				status, answer := n.send(t, fmt.Sprintf(`{"userId":%q,"topic":"live","n":3}`, user))
				if status != http.StatusOK || answer["sockets"] != 1.0 {
					t.Errorf("sent to that client: %d %v", status, answer)
				}
				stranger.waitFor("live", `{"n":3}`)
				told := len(events(stranger.Pending(), "error")) > 0
				if known := name == "the end of the stream" && how != "plain in auth"; told == known {
					t.Errorf("told of a gap: %t, but the offset is known: %t", told, known)
				}
				stranger.Disconnect()
				n.away(t, user)

				fresh := open(t, n.url, transports["websocket"])
				fresh.setUser(user)
				if name == "the end of the stream" && how != "plain in auth" { // the stranger was not given these
					fresh.wantNumbers("tick", 0, 3)
				}
				pub.tick(user, 3, 4)
				fresh.waitCount("tick", 1)
			})
		}
	}
}

// TestResumeFarAhead: a session whose client presents an offset that no stream has
// reached is not recovered; the client is told, and sent what comes.
func TestResumeFarAhead(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	for name, far := range farOffsets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user := t.Name()
			first := listen(t, n, user, sioclient.Session{})
			pub.tick(user, 0, 1)
			first.want("tick", 0)
			other := open(t, n.url, transports["websocket"])
			other.setUser(user)
			session := first.Session()
			first.Close()
			pub.tick(user, 1, 2)
			session.Offset = far(n.end(t)).String() + "." + bridge.UserTag(bridge.UserID(user))
			again := listen(t, n, user, session)
			if known := name == "the end of the stream"; again.Recovered() != known {
				t.Errorf("recovered: %t", again.Recovered())
			} else if !known {
				if e := again.next("error"); !strings.Contains(string(e.Args[0]), "HISTORY_GAP") {
					t.Errorf("told %s", e.Args)
				}
			}
			pub.tick(user, 2, 3)
			again.want("tick", 2)
		})
	}
}

// TestAnotherUserOnTheSameSocket: a page logs out, another user logs in on the same
// socket object, whose client presents the offset of the user before. What waits for the
// new user comes, all of it.
func TestAnotherUserOnTheSameSocket(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	for name, ways := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, v := "before "+name, "then "+name
			lb := startBalancer(t, n)
			p := open(t, lb.url, ways)
			p.setUser(u)
			for i := range 10 {
				status, answer := n.sendTo(t, "/sendPayload?queue=true", fmt.Sprintf(`{"userId":%q,"topic":"tick","n":%d}`, v, i))
				if status != http.StatusAccepted {
					t.Fatalf("queued: %d %v", status, answer)
				}
			}
			pub.stored("hello", fmt.Sprintf(`{"userId":%q}`, u)) // its offset is after those
			p.waitFor("hello", "{}")
			p.Disconnect()
			p.Disconnected()
			p.Reconnect()
			if p.Connected().Recovered {
				t.Error("recovered after a logout")
			}
			p.setUser(v)
			p.wantNumbers("tick", 0, 10)

			// Back, by a network that fails: the session is v's, and so is the offset.
			lb.use(nil)
			lb.cut()
			p.Disconnected()
			pub.tick(v, 10, 12)
			lb.use(n)
			p.comeBack(true)
			p.wantNumbers("tick", 0, 12)
			if got := events(p.Pending(), "error"); len(got) > 0 {
				t.Errorf("told %s", got[0].Raw)
			}
		})
	}
}

// TestAfterOfAnotherUser: `{after}` with another user's token cannot be applied. The
// client is told, and sent what waits for its user.
func TestAfterOfAnotherUser(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	pub.tick("v", 0, 3)
	p := open(t, n.url, transports["websocket"])
	token := n.end(t).String() + "." + bridge.UserTag("u")
	p.setUser("v", map[string]any{"after": token})
	p.wantNumbers("tick", 0, 3)
	if e := p.EventNamed("error"); !strings.Contains(e.Raw, "HISTORY_GAP") {
		t.Errorf("told %s", e.Raw)
	}
}

// TestUnconfirmedIsNotShownAgain: a client that is to confirm a message and does not is
// not shown it again when it resumes; what it had not received comes.
func TestUnconfirmedIsNotShownAgain(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	for _, confirms := range []bool{false, true} {
		t.Run(fmt.Sprint("confirms ", confirms), func(t *testing.T) {
			t.Parallel()
			user := t.Name()
			c := listen(t, n, user, sioclient.Session{})
			pub.tick(user, 0, 1)
			c.want("tick", 0)
			called := make(chan map[string]any, 1)
			go func() {
				_, answer := n.sendTo(t, "/sendPayload?ack=client", fmt.Sprintf(`{"userId":%q,"topic":"tick","n":1}`, user))
				called <- answer
			}()
			e := c.next("tick")
			if !e.Wanted() || string(e.Args[0]) != `{"n":1}` {
				t.Fatalf("got %s, to be confirmed: %t", e.Args, e.Wanted())
			}
			if confirms {
				if err := c.Confirm(e); err != nil {
					t.Fatal(err)
				}
			}
			c.next("bridge:offset")
			session := c.Session()
			if confirms {
				<-called
			}
			c.Close()
			if !confirms {
				<-called
			}
			pub.tick(user, 2, 3)
			again := listen(t, n, user, session)
			if !again.Recovered() {
				t.Error("not recovered")
			}
			again.want("tick", 2)
		})
	}
}

// TestOnePrivateIDOnTwoNodes: a client that resumes on another node while its first
// connection stands leaves no socket behind that is open and hears nothing.
func TestOnePrivateIDOnTwoNodes(t *testing.T) {
	t.Parallel()
	a, b, pub := startCluster(t)
	first := listen(t, a, "u", sioclient.Session{})
	pub.tick("u", 0, 1)
	first.want("tick", 0)
	second := listen(t, b, "u", first.Session())
	if !second.Recovered() || second.ID() != first.ID() {
		t.Fatalf("recovered: %t, socket %s, before %s", second.Recovered(), second.ID(), first.ID())
	}
	first.ends()
	pub.tick("u", 1, 3)
	second.want("tick", 1)
	second.want("tick", 2)
	// And back, where the id has been before.
	third := listen(t, a, "u", second.Session())
	second.ends()
	pub.tick("u", 3, 4)
	third.want("tick", 3)
	if status, answer := b.send(t, `{"userId":"u","topic":"tick","n":4}`); status != http.StatusOK || answer["sockets"] != 1.0 {
		t.Errorf("sent: %d %v", status, answer)
	}
}

// listening is a client that reads one event after the other and confirms none.
type listening struct {
	*sioclient.Conn
	t testing.TB
}

// listen connects a client, which resumes if the session is not empty, and maps it.
func listen(t testing.TB, n *node, user string, s sioclient.Session) *listening {
	t.Helper()
	c, err := sioclient.Dial(t.Context(), sioclient.Options{URL: n.url, Session: s})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if c.Recovered() {
		return &listening{c, t}
	}
	if err := c.SetUser(user, func() {}); err != nil {
		t.Fatal(err)
	}
	l := &listening{c, t}
	if s.PID == "" {
		l.next("bridge:offset") // it is mapped
	}
	return l
}

// next returns the next event of a topic; any other but bridge:offset fails the test.
func (l *listening) next(topic string) sioclient.Event {
	l.t.Helper()
	late := time.AfterFunc(15*time.Second, l.Close)
	defer late.Stop()
	for {
		e, err := l.Read()
		if err != nil {
			l.t.Fatalf("waiting for %s: %v", topic, err)
		}
		if e.Name == topic {
			return e
		}
		if e.Name != "bridge:offset" {
			l.t.Fatalf("waiting for %s: got %s %s", topic, e.Name, e.Args)
		}
	}
}

// ends waits until the server has closed the connection, which carries no event any more.
func (l *listening) ends() {
	l.t.Helper()
	late := time.AfterFunc(15*time.Second, func() {
		l.t.Errorf("the connection of socket %s stays open", l.ID())
		l.Close()
	})
	defer late.Stop()
	if e, err := l.Read(); err == nil {
		l.t.Errorf("socket %s got %s %s", l.ID(), e.Name, e.Args)
	}
}

// want waits for the message {"n":number}, which must be the next one.
func (l *listening) want(topic string, number int) {
	l.t.Helper()
	var payload struct{ N int }
	if e := l.next(topic); json.Unmarshal(e.Args[0], &payload) != nil || payload.N != number {
		l.t.Fatalf("got %s, want number %d", e.Args, number)
	}
}
