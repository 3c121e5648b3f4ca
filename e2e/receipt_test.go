package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store/redistest"
)

// TestQueue: a caller who asks for it has the message wait for an offline user.
func TestQueue(t *testing.T) {
	t.Parallel()
	n, _ := embedded(t)
	status, answer := n.sendTo(t, "/sendPayload?queue=true", `{"userId":"late","topic":"tick","n":0}`)
	if status != http.StatusAccepted || answer["queued"] != true || answer["offset"] == "" {
		t.Fatalf("queueing answered %d %v", status, answer)
	}
	p := open(t, n.url, transports["websocket"])
	p.setUser("late")
	p.wantNumbers("tick", 0, 1)
	if status, answer := n.sendTo(t, "/sendPayload?queue=true", `{"userId":"late","topic":"tick","n":1}`); status != http.StatusOK || answer["queued"] != nil {
		t.Errorf("queueing for a user who is there answered %d %v", status, answer)
	}
	p.wantNumbers("tick", 0, 2)
	if status, trace := getJSON(t, n.ops+"/messages/"+answer["offset"].(string)); status != http.StatusOK || trace["outcome"] != "inboxed" || trace["userId"] != "late" {
		t.Errorf("trace %d %v", status, trace)
	}
	if status, _ := getJSON(t, n.ops+"/messages/1-1"); status != http.StatusNotFound {
		t.Errorf("trace of a message that never was: %d", status)
	}
	balanced(t, n)
}

// TestConfirm: the pages themselves confirm, on whichever node they are, and what
// they have confirmed does not come again when they resume.
func TestConfirm(t *testing.T) {
	t.Parallel()
	a, b, pub := startCluster(t)
	lb := startBalancer(t, a)
	onA, onB := open(t, lb.url, transports["websocket"]), open(t, b.url, transports["polling"])
	onA.setUser("u")
	onB.setUser("u")
	pub.tick("u", 0, 1) // the leader's first words to a node make it read the history, where nothing is confirmed
	onA.waitCount("tick", 1)
	onB.waitCount("tick", 1)
	for i, n := range []*node{a, b} {
		status, answer := n.sendTo(t, "/sendPayload?ack=client", fmt.Sprintf(`{"userId":"u","topic":"tick","n":%d}`, i+1))
		if status != http.StatusOK || answer["sockets"] != 2.0 || answer["acks"] != 2.0 || answer["ackMs"].(float64) <= 0 {
			t.Errorf("POST to %s: %d %v", n.id, status, answer)
		}
	}
	receipts, err := pub.nc.SubscribeSync("_INBOX.receipts.mine")
	if err != nil {
		t.Fatal(err)
	}
	m := &nats.Msg{Subject: "codewar.tick", Data: []byte(`{"userId":"u","n":3}`), Header: nats.Header{
		bridge.HeaderAck: {bridge.AckClient}, bridge.HeaderReceipt: {"_INBOX.receipts.mine"},
	}}
	if err := pub.nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	got, err := receipts.NextMsg(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	var receipt bridge.Receipt
	if err := json.Unmarshal(got.Data, &receipt); err != nil || receipt.Outcome != bridge.Pushed || receipt.Acks == nil || *receipt.Acks != 2 {
		t.Errorf("receipt %s (%v)", got.Data, err)
	}
	lb.use(b)
	lb.cut()
	onA.comeBack(true)
	pub.tick("u", 4, 5)
	onA.wantNumbers("tick", 0, 5)
	onB.wantNumbers("tick", 0, 5)
	balanced(t, a, b)
}

// TestAway: what a caller is told while Redis or NATS is away, and that a stored
// message arrives when it is back.
func TestAway(t *testing.T) {
	t.Parallel()
	redis := redistest.Server(t)
	bus, natsURL := startNATS(t)
	n := startBridge(t, "away", "NATS_URL="+natsURL, "REDIS_ADDRS="+redis.Addr, "HTTP_REPLY_TIMEOUT=1s")
	p := open(t, n.url, transports["websocket"])
	p.setUser("u")
	redis.Stop()
	if status, answer := n.send(t, `{"userId":"u","topic":"tick","n":0}`); status != http.StatusOK {
		t.Errorf("Redis stalled, user on this node: %d %v", status, answer)
	}
	if status, answer := n.send(t, `{"userId":"elsewhere","topic":"tick"}`); status != http.StatusServiceUnavailable || answer["code"] != "SERVICE_UNAVAILABLE" {
		t.Errorf("Redis stalled, user not on this node: %d %v", status, answer)
	}
	if status, body := get(n.url + "/readyz"); status != http.StatusOK || !strings.Contains(body, `"degraded":{"store"`) {
		t.Errorf("Redis stalled: /readyz %d %s", status, body)
	}
	p.wantNumbers("tick", 0, 1)
	redis.Cont()
	bus.kill()
	waitFor(t, "the bridge says that NATS is away", func() string {
		status, body := get(n.url + "/readyz")
		return missing(status == http.StatusServiceUnavailable && strings.Contains(body, `"nats"`), body)
	})
	if status, answer := n.send(t, `{"userId":"u","topic":"tick"}`); status != http.StatusServiceUnavailable || answer["code"] != "SERVICE_UNAVAILABLE" {
		t.Errorf("NATS away: %d %v", status, answer)
	}
	if got := len(p.Pending()); got != 2 { // bridge:offset and the message
		t.Errorf("the page has %d events and should still be connected", got)
	}
}

func missing(ok bool, state string) string {
	if ok {
		return ""
	}
	return state
}

// TestSlow: a page that does not read is dropped, by name, and nobody else notices.
func TestSlow(t *testing.T) {
	t.Parallel()
	addr := "127.0.0.1:" + freePort(t)
	n := startBridge(t, "slow", "NATS_EMBEDDED_ADDR="+addr, "SOCKETS_MAX_PENDING=1048576")
	pub := connect(t, "nats://"+addr)
	slow, _, err := websocket.DefaultDialer.Dial(strings.Replace(n.url, "http", "ws", 1)+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	for _, text := range []string{"40", `420["setUserId","slow"]`} {
		if err := slow.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for { // until setUserId is acknowledged; from then on it reads no more
		_, text, err := slow.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(text), "430") {
			break
		}
	}
	fast := open(t, n.url, transports["websocket"])
	fast.setUser("fast")
	big := strings.Repeat("x", 200_000)
	sent := 0
	waitFor(t, "the slow page is dropped", func() string {
		pub.stored("tick", fmt.Sprintf(`{"userId":"slow","big":%q}`, big))
		pub.tick("fast", sent, sent+1)
		sent++
		if got := n.metric(`bridge_gateway_drops_total{reason="slow"}`); got != 1 {
			return fmt.Sprint(got, " drops")
		}
		return ""
	})
	fast.wantNumbers("tick", 0, sent)
	balanced(t, n)
}

// TestPacedLeaving: on SIGTERM pages are let go over drain.duration, each told to
// come back.
func TestPacedLeaving(t *testing.T) {
	t.Parallel()
	n := startBridge(t, "leaving", "NATS_EMBEDDED_ADDR=127.0.0.1:"+freePort(t), "DRAIN_DURATION=2s")
	var pages []*page
	for i := range 10 {
		p := open(t, n.url, transports["websocket"])
		p.setUser(fmt.Sprint("u", i))
		pages = append(pages, p)
	}
	stopped := make(chan int)
	go func() { stopped <- n.stop() }()
	var first, last time.Time
	for _, p := range pages {
		m := p.Disconnected()
		if m.Reason != "transport close" {
			t.Errorf("a page was told %q", m.Reason)
		}
		if first.IsZero() || m.At.Before(first) {
			first = m.At
		}
		if m.At.After(last) {
			last = m.At
		}
	}
	if spread := last.Sub(first); spread < time.Second {
		t.Errorf("all pages left within %v of 2s", spread)
	}
	if code := <-stopped; code != 0 {
		t.Errorf("exit status %d", code)
	}
}
