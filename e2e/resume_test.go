package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/codewar/socketbridge/gateway/siotest"
)

// balancer is a TCP proxy in front of the nodes, so that a page that reconnects
// can reach another one under the same address.
type balancer struct {
	url string

	mu     sync.Mutex // guards what follows
	target string
	conns  map[net.Conn]bool
}

func startBalancer(t testing.TB, n *node) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{url: "http://" + l.Addr().String(), conns: make(map[net.Conn]bool)}
	b.use(n)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		b.cut()
		work.Wait()
	})
	return b
}

// use sends new connections to a node, or nowhere.
func (b *balancer) use(n *node) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.target = ""
	if n != nil {
		b.target = strings.TrimPrefix(n.url, "http://")
	}
}

// cut closes every connection, as a network that fails does.
func (b *balancer) cut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		_ = c.Close()
	}
}

func (b *balancer) serve(c net.Conn) {
	defer c.Close()
	b.mu.Lock()
	target := b.target
	b.conns[c] = true
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.conns, c)
	}()
	up, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer up.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(up, c)
		_ = up.Close()
	}()
	_, _ = io.Copy(c, up)
	_ = c.Close()
	<-done
}

// tick publishes {"n":from} to {"n":to-1} for a user.
func (p *publisher) tick(user string, from, to int) {
	p.t.Helper()
	for i := from; i < to; i++ {
		p.stored("tick", fmt.Sprintf(`{"userId":%q,"n":%d}`, user, i))
	}
}

// comeBack waits until the page has reconnected.
func (p *page) comeBack(recovered bool) {
	p.t.Helper()
	if got := p.Connected(); got.Recovered != recovered {
		p.t.Fatalf("reconnected with recovered = %v, want %v", got.Recovered, recovered)
	}
}

// TestResume: a page whose connection breaks gets what it missed, in order, once,
// and `recovered` is true; also when it had received nothing before.
func TestResume(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	for name, ways := range transports {
		for _, before := range []int{0, 3} {
			t.Run(fmt.Sprintf("%s after %d messages", name, before), func(t *testing.T) {
				user := fmt.Sprintf("resume_%s_%d", name, before)
				b := startBalancer(t, n)
				p := open(t, b.url, ways)
				p.setUser(user)
				other := open(t, n.url, ways) // takes what the first one misses
				other.setUser(user)
				pub.tick(user, 0, before)
				p.waitCount("tick", before)
				b.use(nil) // a polling page is between two requests now and then, where a cut does not hurt it
				b.cut()
				p.Disconnected()
				pub.tick(user, before, before+5)
				b.use(n)
				p.comeBack(true)
				pub.tick(user, before+5, before+6)
				p.wantNumbers("tick", 0, before+6)
				other.wantNumbers("tick", 0, before+6)
			})
		}
	}
}

// TestResumeOnAnotherNode kills the node that holds the page. The other node
// recovers it: the session was saved before it was needed.
func TestResumeOnAnotherNode(t *testing.T) {
	t.Parallel()
	a, b, pub := startCluster(t)
	lb := startBalancer(t, a)
	p := open(t, lb.url, transports["websocket"])
	p.setUser("u")
	pub.tick("u", 0, 10)
	p.wantNumbers("tick", 0, 10)
	lb.use(b)
	a.kill()
	pub.tick("u", 10, 20)
	p.comeBack(true)
	pub.tick("u", 20, 25)
	p.wantNumbers("tick", 0, 25)
	balanced(t, b)
}

// TestFreshPageAfterOffset: a page that was rendered with an offset misses nothing
// between then and its setUserId; one without begins at the inbox.
func TestFreshPageAfterOffset(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	first := open(t, n.url, transports["websocket"])
	first.setUser("u")
	pub.tick("u", 0, 3)
	offsets := offsetsOf(t, first.waitCount("tick", 3))

	rendered := open(t, n.url, transports["websocket"])
	at := rendered.setUser("u", map[string]any{"after": offsets[0]})
	rendered.wantNumbers("tick", 1, 3)
	if at != offsets[2] {
		t.Errorf("acknowledged at %s, want %s", at, offsets[2])
	}
	fresh := open(t, n.url, transports["websocket"])
	fresh.setUser("u")
	pub.tick("u", 3, 4)
	fresh.wantNumbers("tick", 3, 4)
}

func offsetsOf(t *testing.T, events []siotest.Message) (offsets []string) {
	t.Helper()
	for _, e := range events {
		var o string
		if err := json.Unmarshal(e.Args[len(e.Args)-1], &o); err != nil {
			t.Fatal(err)
		}
		offsets = append(offsets, o)
	}
	return offsets
}

// TestGapIsTold: a page that missed more than is kept is not recovered, and is told.
func TestGapIsTold(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	n := startBridge(t, "gap", "NATS_EMBEDDED_ADDR="+addr, "HISTORY_MAX_PER_USER=10")
	pub := connect(t, "nats://"+addr)
	b := startBalancer(t, n)
	p := open(t, b.url, transports["websocket"])
	p.setUser("u")
	pub.tick("u", 0, 1)
	p.wantNumbers("tick", 0, 1)
	b.use(nil)
	b.cut()
	p.Disconnected()
	other := open(t, n.url, transports["websocket"])
	other.setUser("u")
	pub.tick("u", 1, 500)
	other.wantNumbers("tick", 1, 500)
	b.use(n)
	p.comeBack(false)
	p.setUser("u")
	if e := p.EventNamed("error"); !strings.Contains(e.Raw, `"type":"HISTORY_GAP"`) {
		t.Errorf("got %s, want HISTORY_GAP", e.Raw)
	}
	p.Wait("the newest", func(all []siotest.Message) string {
		got := events(all, "tick")
		return strings.TrimPrefix(string(got[len(got)-1].Args[0]), `{"n":499}`)
	})
}

// TestRestart kills an embedded bridge, with its sessions and histories, and starts
// it again on the same stream: a page is not recovered, but its offset is honoured
// once it says who it is.
func TestRestart(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	env := []string{"NATS_EMBEDDED_ADDR=" + addr, "NATS_EMBEDDED_STORE_DIR=" + t.TempDir()}
	n := startBridge(t, "one", env...)
	b := startBalancer(t, n)
	p := open(t, b.url, transports["websocket"])
	p.setUser("u")
	connect(t, "nats://"+addr).tick("u", 0, 3)
	p.wantNumbers("tick", 0, 3)
	b.use(nil)
	n.kill()
	n = startBridge(t, "two", env...)
	connect(t, "nats://"+addr).tick("u", 3, 6)
	b.use(n)
	p.comeBack(false)
	p.setUser("u")
	p.wantNumbers("tick", 0, 6)
	balanced(t, n)
}
