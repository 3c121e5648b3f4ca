package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/internal/testutil/launch"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// deskProgram runs the program and asks its operators' routes.
type deskProgram struct {
	*program
	t  *testing.T
	nc *nats.Conn // to its embedded server
}

func startDesk(t *testing.T, args ...string) *deskProgram {
	t.Helper()
	addr := launch.FreeAddr(t)
	p := &deskProgram{t: t, program: startProgram(t, append([]string{"--set", "nats.embedded.addr=" + addr, "--set", "canary.interval=0s"}, args...)...)}
	nc, err := nats.Connect("nats://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	p.nc = nc
	t.Cleanup(func() {
		nc.Close()
		p.Stop()
		<-p.Status
	})
	return p
}

// publish publishes a message without waiting for what becomes of it.
func (p *deskProgram) publish(topic, body string, header ...string) {
	p.t.Helper()
	m := &nats.Msg{Subject: "codewar." + topic, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	if err := p.nc.PublishMsg(m); err != nil {
		p.t.Fatal(err)
	}
	if err := p.nc.Flush(); err != nil {
		p.t.Fatal(err)
	}
}

// ask gets a route, which must answer 200, into answer.
func (p *program) ask(t testing.TB, path string, answer any) {
	t.Helper()
	status, body := p.Get(path)
	if status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), answer); err != nil {
		t.Fatalf("%s: %v in %s", path, err, body)
	}
}

// report is what tests read of a look-up.
type report struct {
	UserID  string
	Verdict struct{ Code, Text string }
	Sockets []struct {
		SocketID, Node, Transport, LastOffset string
		Since                                 time.Time
		QueuedBytes                           int
	}
	Events []struct {
		At                            time.Time
		Event, SocketID, Node, Reason string
		DurationMs                    float64
	}
	Taken, Last string
	Messages    []struct {
		Offset, Topic, Outcome string
		At                     time.Time
		Sockets                int
		Verdict                struct{ Code, Text string }
		Tries                  []struct{ Node string }
	}
	Dead []struct {
		Seq                   uint64
		Code, Reason, Subject string
	}
	Missing []string
	Partial []string
}

// why waits until the look-up of a user has the verdict, whose text must have each
// of the words.
func (p *program) why(t testing.TB, user, code string, words ...string) (r report) {
	t.Helper()
	wait.Until(t, user+": "+code, func() string {
		r = report{}
		p.ask(t, "/api/v1/users/"+user, &r)
		if r.Verdict.Code == code {
			return ""
		}
		return fmt.Sprintf("%q; events %+v", r.Verdict, r.Events)
	})
	for _, word := range words {
		if !strings.Contains(r.Verdict.Text, word) {
			t.Errorf("%s: %q does not have %q", user, r.Verdict.Text, word)
		}
	}
	t.Logf("%s: %s", code, r.Verdict.Text)
	return r
}

// tab is a page of which the test decides what it does: read, answer pings, or nothing.
func (p *program) tab(t testing.TB, user string) *websocket.Conn {
	t.Helper()
	ws := siotest.Raw(t, strings.TrimPrefix(p.URL, "http://"), `420["setUserId","`+user+`"]`)
	siotest.Await(t, ws, "430")
	return ws
}

// TestWhy: each reason for which a user does not get a message is found, and told
// in words.
func TestWhy(t *testing.T) {
	t.Run("never published", func(t *testing.T) {
		p := startDesk(t)
		p.why(t, "ghost", "never_published", "no socket either")
		p.tab(t, "reader")
		p.why(t, "reader", "never_published", "1 socket(s)")
	})
	t.Run("poison", func(t *testing.T) {
		p := startDesk(t)
		p.publish("result", `{"userId":"eve","topic":"other"}`)
		r := p.why(t, "eve", "poison", "codewar.result", "TOPIC_MISMATCH", "dead replay")
		if len(r.Dead) != 1 || r.Dead[0].Code != "TOPIC_MISMATCH" {
			t.Errorf("dead letters: %+v", r.Dead)
		}
		p.publish("result", `{"userId":"eve 2","cut off`)
		p.why(t, "eve%202", "poison", "INVALID_JSON")
		var dead struct {
			Total   int
			Letters []struct{ UserID, Code string }
		}
		p.ask(t, "/api/v1/dead?limit=1", &dead)
		if dead.Total != 2 || len(dead.Letters) != 1 || dead.Letters[0].UserID != "eve 2" {
			t.Errorf("dead letters: %+v", dead)
		}
	})
	t.Run("no socket", func(t *testing.T) {
		p := startDesk(t)
		p.publish("result", `{"userId":"gone"}`, "Bridge-Offline", "drop")
		p.why(t, "gone", "no_socket", "no socket on any node", "?queue=true")
		if status, _, _ := p.send(t, nil, `{"userId":"told","topic":"result"}`); status != http.StatusNotFound {
			t.Errorf("/sendPayload: %d", status)
		}
		p.why(t, "told", "no_socket", "404", "on result", "?queue=true")
	})
	t.Run("queued", func(t *testing.T) {
		p := startDesk(t)
		p.publish("result", `{"userId":"later"}`)
		p.why(t, "later", "queued", "next socket")
		ws := p.tab(t, "later")
		r := p.why(t, "later", "pushed", "it waited and was given to socket")
		if len(r.Sockets) != 1 || r.Sockets[0].Transport != "websocket" || r.Sockets[0].LastOffset != r.Messages[0].Offset || len(r.Events) != 1 || r.Events[0].Event != "connected" {
			t.Errorf("report: %+v", r)
		}
		ws.Close()
		wait.For(t, "a second event", func() bool { r = p.why(t, "later", "pushed"); return len(r.Events) == 2 })
		if len(r.Sockets) != 0 || len(r.Events) != 2 || r.Events[0].Event != "disconnected" || r.Events[0].Reason == "" || r.Events[0].DurationMs <= 0 {
			t.Errorf("report: %+v", r)
		}
	})
	t.Run("pushed to a dead tab", func(t *testing.T) {
		p := startDesk(t, "--set", "sockets.ping_interval=200ms", "--set", "sockets.ping_timeout=300ms")
		p.tab(t, "sleeper") // which reads nothing and so answers no ping
		p.publish("result", `{"userId":"sleeper"}`)
		p.why(t, "sleeper", "pushed_dead_tab", "answered no ping")
	})
	t.Run("slow socket closed", func(t *testing.T) {
		p := startDesk(t, "--set", "sockets.max_pending=1048576", "--set", "sockets.write_timeout=60s")
		p.tab(t, "snail") // which never reads
		big := fmt.Sprintf(`{"userId":"snail","x":%q}`, strings.Repeat("x", 900_000))
		for range 12 {
			p.publish("result", big)
		}
		p.why(t, "snail", "slow_socket_closed", "slow", "resumes") // the words tell when it was closed: before, or after it was given the message
	})
	t.Run("history expired", func(t *testing.T) {
		p := startDesk(t, "--set", "history.ttl=300ms")
		p.publish("result", `{"userId":"late"}`)
		p.why(t, "late", "history_expired", "no longer kept")
		p.tab(t, "late")
		p.why(t, "late", "history_expired", "too late")
	})
}

// TestDesk: every route of the operators answers, and what it says moves.
func TestDesk(t *testing.T) {
	p := startDesk(t)
	ws := p.tab(t, "u")
	go func() { // the page reads until its end
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
		}
	}()
	var receipt struct {
		Outcome, Offset string
		Sockets         int
		TookMs          float64
	}
	p.post(t, "/api/v1/send", `{"userId":"u","topic":"result","payload":{"n": 1.50}}`, http.StatusOK, &receipt)
	if receipt.Outcome != "pushed" || receipt.Sockets != 1 || receipt.TookMs <= 0 {
		t.Errorf("send: %+v", receipt)
	}
	var message struct {
		Offset, Topic, Subject, UserID string
		Verdict                        struct{ Code string }
	}
	p.ask(t, "/api/v1/messages/"+receipt.Offset, &message)
	if message.Offset != receipt.Offset || message.Topic != "result" || message.UserID != "u" || message.Verdict.Code != "pushed" {
		t.Errorf("message: %+v", message)
	}
	type cluster struct {
		Node, Leader, Version string
		HistoryTTLMs          float64 `json:"historyTtlMs"`
		Missing               []string
		Nodes                 []struct {
			ID            string
			Ready, Leader bool
			Sockets       int
			Users         int
			RSSBytes      int
			Connections   struct{ Websocket int }
			NATS          struct {
				Connected, Embedded bool
				LastSeq, Lag        int
			}
			Store struct {
				Kind string
				OK   bool
			}
			Counters struct {
				Received, Took int
				Outcomes       map[string]int
				Topics         map[string]int
				Drops          map[string]int
			}
			Push struct {
				Count int
				P50Ms float64
			}
		}
	}
	var c cluster
	wait.Until(t, "the cluster's state has the message", func() string {
		c = cluster{}
		p.ask(t, "/api/v1/cluster", &c)
		if len(c.Nodes) == 1 && c.Nodes[0].Counters.Topics["result"] == 1 && c.Nodes[0].Push.Count == 1 && c.Nodes[0].Ready && c.Nodes[0].NATS.LastSeq > 0 {
			return ""
		}
		return fmt.Sprintf("%+v", c)
	})
	n := c.Nodes[0]
	if c.Leader != n.ID || c.Node != n.ID || !n.Leader || n.Sockets != 1 || n.Users != 1 || n.Connections.Websocket != 1 || n.RSSBytes == 0 ||
		!n.NATS.Connected || !n.NATS.Embedded || n.Store.Kind != "memory" || !n.Store.OK || n.Counters.Outcomes["pushed"] != 1 || n.Counters.Took != 1 ||
		n.Push.P50Ms <= 0 || c.HistoryTTLMs != 600_000 || len(c.Missing) != 0 {
		t.Errorf("cluster: %+v", c)
	}
	var series struct {
		EveryMs int
		Nodes   []struct {
			ID     string
			From   time.Time
			Fields map[string][]float64
		}
	}
	wait.Until(t, "the message is in the series", func() string {
		p.ask(t, "/api/v1/series?seconds=60", &series)
		for _, v := range series.Nodes[0].Fields["topic.result"] {
			if v > 0 {
				return ""
			}
		}
		return fmt.Sprintf("%+v", series)
	})
	for _, field := range []string{"sockets", "users", "received", "outcome.pushed", "outcome.dead", "p50Ms", "p99Ms", "p999Ms", "lag", "storeMs", "rssBytes", "dropped", "connected"} {
		if got, want := len(series.Nodes[0].Fields[field]), len(series.Nodes[0].Fields["sockets"]); got == 0 || got != want {
			t.Errorf("series %s has %d samples, sockets has %d", field, got, want)
		}
	}
	var users struct {
		Users []struct {
			UserID  string
			Sockets int
			Nodes   []string
			Since   time.Time
		}
		Total     int
		Truncated bool
	}
	p.tab(t, "v1")
	p.tab(t, "v2")
	p.ask(t, "/api/v1/users?prefix=v&limit=1", &users)
	if len(users.Users) != 1 || users.Users[0].UserID != "v1" || users.Users[0].Sockets != 1 || users.Total != 2 || !users.Truncated || time.Since(users.Users[0].Since) > time.Minute {
		t.Errorf("users: %+v", users)
	}
	stock := siotest.Dial(t, p.URL, siotest.Options{Transports: []string{"websocket"}})
	stock.EmitWithAck("setUserId", "back")
	stock.Drop()
	if m := stock.Connected(); !m.Recovered {
		t.Errorf("not recovered: %+v", m)
	}
	var back report
	wait.Until(t, "the page has resumed", func() string {
		back = report{}
		if p.ask(t, "/api/v1/users/back", &back); len(back.Events) == 3 && len(back.Sockets) == 1 {
			return ""
		}
		return fmt.Sprintf("%+v", back)
	})
	if e := back.Events; e[0].Event != "resumed" || e[1].Event != "disconnected" || e[2].Event != "connected" || e[0].SocketID != e[2].SocketID {
		t.Errorf("events %+v", e)
	}
	for _, id := range []string{"100%", "a/b", "a%2Fb", "ü ?#", "..", "+"} {
		var r report
		if p.ask(t, "/api/v1/users/"+url.PathEscape(id), &r); r.UserID != id {
			t.Errorf("user %q: %+v", id, r)
		}
	}
	for path, want := range map[string]int{
		"/api/v1/messages/rubbish": 400, "/api/v1/messages/1-1": 404, "/messages/" + receipt.Offset: 200,
		"/api/v1/users?limit=0": 400, "/api/v1/users/%00": 400, "/api/v1/series?seconds=x": 400, "/api/v1/nothing": 404,
	} {
		status, body := p.Get(path)
		if status != want || want >= 400 && !strings.Contains(body, `"details":{`) {
			t.Errorf("%s: %d %s, want %d", path, status, body, want)
		}
	}
}

func (p *program) post(t testing.TB, path, body string, want int, answer any, header ...string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := launch.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != want {
		t.Errorf("%s %s: %d %s, want %d", path, body, res.StatusCode, text, want)
	}
	if answer != nil {
		if err := json.NewDecoder(bytes.NewReader(text)).Decode(answer); err != nil {
			t.Errorf("%s: %v in %s", path, err, text)
		}
	}
}

// TestSend: what an operator's form may send, and what not.
func TestSend(t *testing.T) {
	p := startDesk(t)
	type answer struct {
		Outcome, Offset, Code, Error string
		Sockets                      int
		Details                      map[string]any
	}
	for _, tt := range []struct {
		body   string
		status int
		says   string // outcome or code
	}{
		{`{"userId":"nobody","topic":"t","payload":{}}`, 200, "offline"},
		{`{"userId":"nobody","topic":"t"}`, 200, "offline"},
		{`{"userId":42,"topic":"t","payload":{"a":1},"queue":true}`, 200, "inboxed"},
		{`{"userId":"nobody","topic":"t","payload":{"topic":"u"}}`, 400, "DUPLICATE_KEY"},
		{`{"userId":"nobody","topic":"connect","payload":{}}`, 400, "INVALID_TOPIC"},
		{`{"topic":"t"}`, 400, "MISSING_FIELDS"},
		{`{"userId":"u","topic":"t","payload":[1]}`, 400, "NOT_AN_OBJECT"},
		{`{"userId":"u","topic":"t","payload":{`, 400, "INVALID_JSON"},
		{`{}`, 400, "MISSING_FIELDS"},
		{`{"payload":{"userId":"u","topic":"t"}}`, 200, "offline"},
	} {
		var a answer
		p.post(t, "/api/v1/send", tt.body, tt.status, &a)
		if a.Outcome != tt.says && a.Code != tt.says || tt.status != 200 && a.Details["action"] != "send" {
			t.Errorf("%s: %+v, want %s", tt.body, a, tt.says)
		}
	}
	var a answer
	p.post(t, "/api/v1/send", `{"userId":"u","topic":"t"}`, http.StatusUnsupportedMediaType, &a, "Content-Type", "text/plain")
}
