package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// transports are the ways in which a stock client may connect.
var transports = map[string][]string{
	"websocket": {"websocket"},
	"polling":   {"polling"},
	"upgrade":   {"polling", "websocket"},
}

// TestEmbedded is the newcomer's path: one process, nothing configured.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	for name, ways := range transports {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			user, stranger := "user_"+name, "stranger_"+name
			tab1, tab2 := open(t, n.url, ways), open(t, n.url, ways)
			other := open(t, n.url, ways)
			tab1.setUser(user)
			tab2.setUser(user)
			other.setUser(stranger)

			// The payload's own spelling must survive: order, numbers, escapes.
			const payload = `{"submissionId":"sub_123","status":"IN_PROGRESS","n":1.50,"big":12345678901234567890,"s":"é\u00e9\/","deep":{"b":[1,{"a":null}],"a":{}}}`
			body := func(topic string) string {
				return fmt.Sprintf(`{"userId":%q,"topic":%q,%s`, user, topic, payload[1:])
			}
			pub.core("submissionUpdate", body("submissionUpdate"))
			tab1.waitFor("submissionUpdate", payload) // core publishes are not acknowledged: keep the order
			pub.stored("evaluationComplete", body("evaluationComplete"))
			if status, answer := n.send(t, body("customRunComplete")); status != http.StatusOK || answer["message"] != "Payload sent successfully" || answer["sockets"] != 2.0 {
				t.Errorf("POST answered %d %v", status, answer)
			}
			for _, tab := range []*page{tab1, tab2} {
				for _, topic := range []string{"submissionUpdate", "evaluationComplete", "customRunComplete"} {
					tab.waitFor(topic, payload)
				}
				tab.wantOnly("submissionUpdate", "evaluationComplete", "customRunComplete")
			}
			other.wantOnly()
		})
	}
}

// TestBurst: a thousand messages at once for one user, over each transport.
func TestBurst(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	for name, ways := range transports {
		t.Run(name, func(t *testing.T) {
			p := open(t, n.url, ways)
			p.setUser("burst_" + name)
			for i := range 1000 {
				pub.core("tick", fmt.Sprintf(`{"userId":"burst_%s","n":%d}`, name, i))
			}
			p.wantNumbers("tick", 0, 1000)
		})
	}
	balanced(t, n)
}

// TestBadInput: whatever breaks the rules is answered or buried by name, and the
// next message goes on.
func TestBadInput(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	p := open(t, n.url, transports["websocket"])
	p.setUser("u")
	bad := map[string]string{
		"INVALID_JSON":    `hello`,
		"NOT_AN_OBJECT":   `["u"]`,
		"MISSING_FIELDS":  `{"a":1}`,
		"INVALID_USER_ID": `{"userId":"` + strings.Repeat("x", 10_000) + `"}`,
		"TOPIC_MISMATCH":  `{"userId":"u","topic":"other"}`,
		"DUPLICATE_KEY":   `{"userId":"u","a":1,"a":2}`,
		"INVALID_UTF8":    "{\"userId\":\"u\",\"a\":\"\xff\"}",
		"TOO_DEEP":        `{"userId":"u","a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`,
	}
	for _, body := range bad {
		pub.stored("poison", body)
	}
	pub.stored("connect", `{"userId":"u"}`) // reserved
	pub.stored("after", `{"userId":"u","n":0}`)
	p.wantNumbers("after", 0, 1)
	for code := range bad {
		if got := pub.dead(code); got != 1 {
			t.Errorf("%d dead letters with reason %s, want 1", got, code)
		}
		if code == "TOPIC_MISMATCH" {
			continue // over HTTP there is no subject to disagree with
		}
		if status, answer := n.send(t, strings.Replace(bad[code], `{"userId"`, `{"topic":"t","userId"`, 1)); status != http.StatusBadRequest || answer["code"] != code {
			t.Errorf("%s over HTTP: %d %v", code, status, answer)
		}
	}
	if got := pub.dead("INVALID_TOPIC"); got != 1 {
		t.Errorf("%d dead letters with reason INVALID_TOPIC, want 1", got)
	}
	if status, answer := n.send(t, `{"userId":"u","topic":"t","a":"`+strings.Repeat("x", 2<<20)+`"}`); status != http.StatusRequestEntityTooLarge || answer["code"] != "PAYLOAD_TOO_LARGE" {
		t.Errorf("2 MB over HTTP: %d %v", status, answer)
	}
	balanced(t, n)
}

// TestInbox: what finds nobody waits for the user's next page, once; what came by
// HTTP does not.
func TestInbox(t *testing.T) {
	t.Parallel()
	n, natsURL := embedded(t)
	pub := connect(t, natsURL)
	for i := range 3 {
		pub.stored("tick", fmt.Sprintf(`{"userId":"late","n":%d}`, i))
	}
	if status, answer := n.send(t, `{"userId":"late","topic":"tick","n":99}`); status != http.StatusNotFound || answer["error"] != "User not connected" || answer["code"] != "USER_NOT_FOUND" {
		t.Errorf("POST for nobody: %d %v", status, answer)
	}
	waitFor(t, "the messages are in the inbox", func() string {
		if got := n.metric(`bridge_intake_outcomes_total{outcome="inboxed"}`); got != 3 {
			return fmt.Sprint(got, " inboxed")
		}
		return ""
	})
	first := open(t, n.url, transports["websocket"])
	first.setUser("late")
	first.wantNumbers("tick", 0, 3)
	second := open(t, n.url, transports["websocket"])
	second.setUser("late")
	pub.stored("tick", `{"userId":"late","n":3}`)
	first.wantNumbers("tick", 0, 4)
	second.wantNumbers("tick", 3, 4)
	balanced(t, n)
}

// TestStop: SIGTERM ends the process with status 0, and a call in hand gets its answer.
func TestStop(t *testing.T) {
	t.Parallel()
	n, _ := embedded(t)
	p := open(t, n.url, transports["websocket"])
	p.setUser("u")
	began := time.Now()
	if code := n.stop(); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("stopping took %v", took)
	}
	p.Disconnected()
}
