package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/siotest"
)

// TestLeastPermissions runs two bridges as docker-compose.yml has them, with a NATS server
// and a Redis that load the users of deploy/. Everything a bridge, a publisher and an
// operator have to do works.
func TestLeastPermissions(t *testing.T) {
	t.Parallel()
	s := startSample(t)
	a, b := s.bridge("bridge-1"), s.bridge("bridge-2")
	onA, onB := s.page(a), s.page(b)
	nc := s.nats("publisher")
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}

	// Publish and deliver, on both nodes, by every way in.
	publish := func(n int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if _, err := js.Publish(ctx, "codewar.tick", fmt.Appendf(nil, `{"userId":"u","n":%d}`, n)); err != nil {
			t.Fatalf("publish as publisher: %v", err)
		}
	}
	publish(0)
	for i, n := range []*node{a, b} {
		if status, answer := s.send(n, fmt.Sprintf(`{"userId":"u","topic":"tick","n":%d}`, i+1)); status != http.StatusOK || answer["sockets"] != 2.0 {
			t.Errorf("POST to %s: %d %v", n.id, status, answer)
		}
	}

	// A receipt to the publisher's own inbox.
	inbox := nc.NewInbox()
	receipts, err := nc.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	m := &nats.Msg{Subject: "codewar.tick", Data: []byte(`{"userId":"u","n":3}`), Header: nats.Header{bridge.HeaderReceipt: {inbox}}}
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	got, err := receipts.NextMsg(20 * time.Second)
	if err != nil {
		t.Fatalf("receipt: %v", err)
	}
	var receipt bridge.Receipt
	if err := json.Unmarshal(got.Data, &receipt); err != nil || receipt.Outcome != bridge.Pushed || receipt.Sockets != 2 {
		t.Errorf("receipt %s (%v)", got.Data, err)
	}
	onA.wantNumbers("tick", 0, 4)
	onB.wantNumbers("tick", 0, 4)

	s.deadLetters(nc)

	// Operators ask all nodes through one, also for what broke the rules.
	key := []string{"OPS_KEY=" + s.secret("ops-key")}
	if err := nc.Publish("codewar.tick", []byte(`{"userId":"u","topic":"another"}`)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the dead letter is among the user's", func() string {
		if out, err := s.run(key, "user", "u", "--ops-url", a.ops); err != nil || !strings.Contains(out, "TOPIC_MISMATCH") {
			return fmt.Sprint(err, out)
		}
		return ""
	})
	for _, n := range []*node{a, b} {
		if out, err := s.run(key, "users", "--ops-url", n.ops, "--json"); err != nil || !strings.Contains(out, `"sockets":2`) {
			t.Errorf("users at %s: %v\n%s", n.id, err, out)
		}
		if out, err := s.run(key, "user", "u", "--ops-url", n.ops); err != nil || !strings.Contains(out, "bridge-1") || !strings.Contains(out, "bridge-2") {
			t.Errorf("user at %s: %v\n%s", n.id, err, out)
		}
	}

	// The leader stops, then dies: the other one reads on.
	leader, survivor, page := a, b, onB
	if s.leads(b) {
		leader, survivor, page = b, a, onA
	}
	if code := leader.stop(); code != 0 {
		t.Errorf("the leader ended with status %d", code)
	}
	publish(4)
	page.waitCount("tick", 5)
	again := s.bridge(leader.id)
	survivor.kill()
	last := s.page(again)
	publish(5)
	last.Wait("message after the second change of leader", func(all []siotest.Message) string {
		if n := len(events(all, "tick")); n == 0 || !strings.Contains(events(all, "tick")[n-1].Raw, `"n":5`) {
			return fmt.Sprint(n, " ticks")
		}
		return ""
	})

	for _, n := range []*node{a, b, again} {
		for _, refusal := range []string{"ermissions", "NOPERM", "WRONGPASS"} {
			if log := n.log.String(); strings.Contains(log, refusal) {
				at := strings.Index(log, refusal)
				t.Errorf("bridge %s lacks a permission: %s", n.id, log[max(0, at-300):min(len(log), at+200)])
			}
		}
	}
}

// deadLetters has the operator find, show, replay and purge a message that broke the rules.
func (s *sample) deadLetters(publisher *nats.Conn) {
	s.t.Helper()
	for range 2 {
		if err := publisher.Publish("codewar.tick", []byte(`{"n":1}`)); err != nil {
			s.t.Fatal(err)
		}
	}
	operator := []string{"NATS_USER=operator", "NATS_PASSWORD_FILE=" + s.file("nats-operator-password"), "NATS_INBOX_PREFIX=_INBOX.operator"}
	list := func() (seqs []string) {
		out, err := s.run(operator, "dead", "ls", "--json")
		if err != nil {
			s.t.Fatalf("dead ls: %v", err)
		}
		for line := range strings.Lines(out) {
			var letter struct{ Sequence uint64 }
			if err := json.Unmarshal([]byte(line), &letter); err != nil {
				s.t.Fatalf("dead ls: %v\n%s", err, out)
			}
			seqs = append(seqs, fmt.Sprint(letter.Sequence))
		}
		return seqs
	}
	var seqs []string
	waitFor(s.t, "two dead letters", func() string {
		if seqs = list(); len(seqs) == 2 {
			return ""
		}
		return fmt.Sprint(seqs)
	})
	if out, err := s.run(operator, "dead", "show", seqs[0]); err != nil || !strings.Contains(out, `{"n":1}`) {
		s.t.Errorf("dead show: %v\n%s", err, out)
	}
	if out, err := s.run(operator, "dead", "replay", seqs[0]); err != nil {
		s.t.Errorf("dead replay: %v\n%s", err, out)
	}
	waitFor(s.t, "the replayed message is a letter again", func() string {
		if now := list(); len(now) == 2 && now[0] == seqs[1] {
			return ""
		}
		return "not yet"
	})
	if out, err := s.run(operator, append([]string{"dead", "purge"}, list()...)...); err != nil || len(list()) != 0 {
		s.t.Errorf("dead purge: %v\n%s", err, out)
	}
}

// page opens a page of user u with a token, as auth.mode jwt wants it.
func (s *sample) page(n *node) *page {
	s.t.Helper()
	token, err := s.run(nil, "token", "--user", "u")
	if err != nil {
		s.t.Fatal(err)
	}
	p := open(s.t, n.url, transports["websocket"], map[string]any{"token": strings.TrimSpace(token)})
	p.setUser("u")
	return p
}

// leads reports whether a node leads.
func (s *sample) leads(n *node) bool {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, n.ops+"/metrics", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.secret("ops-key"))
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		s.t.Fatalf("metrics: %d, %v", res.StatusCode, err)
	}
	return strings.Contains(string(text), "\nbridge_leader 1\n")
}

// send posts to /sendPayload with the key of the back end.
func (s *sample) send(n *node, body string) (status int, answer map[string]any) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, n.url+"/sendPayload", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.secret("api-key"))
	res, err := client.Do(req)
	return decode(s.t, res, err)
}

// TestNATSRefuses: what each NATS user of deploy/nats/permissions.conf may not do.
func TestNATSRefuses(t *testing.T) {
	t.Parallel()
	s := startSample(t)
	s.bridge("bridge-1") // makes the streams
	for user, refused := range map[string]struct{ publish, subscribe []string }{
		"publisher": {
			publish: []string{
				"bridge.codewar.node.bridge-1", "bridge.codewar.ask.bridge-1.users", "bridge.codewar.resigned", "bridge.dead.invalid_json",
				"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.INFO.CODEWAR", "$JS.API.STREAM.PURGE.CODEWAR", "$JS.API.STREAM.DELETE.CODEWAR",
				"$JS.API.STREAM.UPDATE.CODEWAR", "$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.MSG.GET.CODEWAR", "$JS.API.DIRECT.GET.CODEWAR",
				"$JS.API.STREAM.MSG.DELETE.CODEWAR", "$JS.API.CONSUMER.CREATE.CODEWAR", "$JS.API.CONSUMER.CREATE.CODEWAR.c", "$JS.API.CONSUMER.MSG.NEXT.CODEWAR.c",
				"$JS.API.STREAM.PURGE.BRIDGE_DEAD", "$JS.API.STREAM.MSG.GET.BRIDGE_DEAD", "$JS.API.CONSUMER.CREATE.BRIDGE_DEAD.c",
				"_INBOX.bridge.x", "_INBOX.publisher.x", "$SYS.REQ.SERVER.PING", "other",
			},
			subscribe: []string{
				"codewar.>", "codewar.tick", "bridge.>", "bridge.codewar.>", "bridge.dead.>", ">", "*.>", "_INBOX.>", "_INBOX.bridge.>", "_INBOX.operator.>",
				"$JS.API.>", "$JS.EVENT.ADVISORY.>", "$SYS.>",
			},
		},
		"operator": {
			publish: []string{
				"bridge.codewar.node.bridge-1", "bridge.codewar.ask.bridge-1.users", "bridge.codewar.resigned", "bridge.dead.invalid_json",
				"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.PURGE.CODEWAR", "$JS.API.STREAM.DELETE.CODEWAR", "$JS.API.STREAM.UPDATE.CODEWAR",
				"$JS.API.STREAM.MSG.DELETE.CODEWAR", "$JS.API.CONSUMER.CREATE.CODEWAR.c", "$JS.API.CONSUMER.DELETE.CODEWAR.c",
				"$JS.API.STREAM.DELETE.BRIDGE_DEAD", "$JS.API.STREAM.UPDATE.BRIDGE_DEAD", "$JS.API.STREAM.CREATE.OTHER", "_INBOX.bridge.x", "other",
			},
			subscribe: []string{"codewar.>", "bridge.>", "bridge.dead.>", ">", "_INBOX.>", "_INBOX.bridge.>", "_INBOX.publisher.>", "$JS.EVENT.ADVISORY.>", "$SYS.>"},
		},
		"bridge": {
			publish: []string{
				"$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.PURGE.CODEWAR", "$JS.API.STREAM.DELETE.CODEWAR", "$JS.API.STREAM.UPDATE.CODEWAR",
				"$JS.API.STREAM.MSG.DELETE.CODEWAR", "$JS.API.STREAM.PURGE.BRIDGE_DEAD", "$JS.API.STREAM.DELETE.BRIDGE_DEAD",
				"$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.INFO.OTHER", "$JS.API.STREAM.MSG.GET.OTHER", "$JS.API.CONSUMER.CREATE.OTHER.c",
				"bridge.other.node.x", "bridge.other.dead.x", "other", "$SYS.REQ.SERVER.PING",
			},
			subscribe: []string{"codewar.>", "bridge.>", "bridge.dead.>", "bridge.other.>", ">", "_INBOX.>", "_INBOX.publisher.>", "_INBOX.operator.>", "$JS.EVENT.ADVISORY.>", "$SYS.>"},
		},
	} {
		for _, subject := range refused.publish {
			if !denied(s.nats(user), func(nc *nats.Conn) error { return nc.Publish(subject, []byte("{}")) }) {
				t.Errorf("%s may publish to %s", user, subject)
			}
		}
		for _, subject := range refused.subscribe {
			if !denied(s.nats(user), func(nc *nats.Conn) error { _, err := nc.SubscribeSync(subject); return err }) {
				t.Errorf("%s may subscribe to %s", user, subject)
			}
		}
	}
	// The server sends the PubAck to the reply subject, with rights of its own.
	for _, reply := range []string{"$JS.API.STREAM.PURGE.CODEWAR", "$JS.API.STREAM.DELETE.CODEWAR", "$JS.API.STREAM.PURGE.BRIDGE_DEAD"} {
		if !denied(s.nats("publisher"), func(nc *nats.Conn) error { return nc.PublishRequest("codewar.tick", reply, []byte("{}")) }) {
			t.Errorf("publisher may have a PubAck sent to %s", reply)
		}
	}
	if nc, err := nats.Connect(s.natsURL); err == nil {
		nc.Close()
		t.Error("a client without a login is let in")
	}
}

// denied does something on a connection and reports whether the server forbade it. The
// server answers in order, so its refusal has come when the flush returns.
func denied(nc *nats.Conn, do func(*nats.Conn) error) bool {
	defer nc.Close()
	err := errors.Join(do(nc), nc.FlushTimeout(20*time.Second))
	return err == nil && errors.Is(nc.LastError(), nats.ErrPermissionViolation)
}

// TestRedisUsersRefused: what each Redis user of deploy/redis/users.acl may not do.
func TestRedisUsersRefused(t *testing.T) {
	t.Parallel()
	s := startSample(t)
	dial := func(user string) *redis.Client {
		o := &redis.Options{Addr: s.redisAddr, Protocol: 2, DisableIdentity: true, MaxRetries: -1}
		if user != "" {
			o.Username, o.Password = user, s.secret("redis-"+user+"-password")
		}
		c := redis.NewClient(o)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	const outside = "return redis.call('GET', 'other:x')"
	dangerous := []string{
		"FLUSHALL", "FLUSHDB", "KEYS *", "KEYS bridge:*", "SCAN 0", "RANDOMKEY", "DBSIZE", "SWAPDB 0 1", "CONFIG GET *", "CONFIG SET maxmemory 1", "CONFIG REWRITE",
		"ACL LIST", "ACL SETUSER x on", "ACL GETUSER bridge", "SAVE", "BGSAVE", "BGREWRITEAOF", "REPLICAOF NO ONE", "MONITOR", "CLIENT LIST", "CLIENT KILL ID 1",
		"SCRIPT FLUSH", "SCRIPT KILL", "FUNCTION FLUSH", "FUNCTION LIST", "MODULE LIST", "EVAL return(1) 0", "MIGRATE h 1 k 0 1", "RESTORE bridge:x 0 x", "DUMP other:x", "SORT bridge:x BY other:*",
		"GET other:x", "SET other:x 1", "DEL other:x", "HGETALL other:x", "XRANGE other:x - +", "GET bridgeother", "PUBLISH c x", "SUBSCRIBE c", "SHUTDOWN NOSAVE",
	}
	for user, refused := range map[string][]string{
		"bridge":   dangerous,
		"operator": append([]string{"SET bridge:x 1", "DEL bridge:x", "HSET bridge:h f v", "PEXPIRE bridge:x 1", "XADD bridge:s * a b", "SCRIPT LOAD return(1)", "EVALSHA x 0"}, dangerous...),
	} {
		c := dial(user)
		for _, command := range refused {
			if err := do(t, c, command); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
				t.Errorf("%s: %s: got %v, want NOPERM", user, command, err)
			}
		}
	}
	sha, err := dial("bridge").ScriptLoad(t.Context(), outside).Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := dial("bridge").EvalSha(t.Context(), sha, nil).Err(); err == nil || !strings.Contains(err.Error(), "can't access at least one of the keys") {
		t.Errorf("a script of the bridge reads a key of others: %v", err)
	}
	if err := do(t, dial(""), "PING"); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("without a login: got %v, want NOAUTH", err)
	}
	for _, command := range []string{"PING", "INFO memory", "SLOWLOG GET 1", "LATENCY LATEST", "MEMORY STATS", "GET bridge:x", "HGETALL bridge:h", "ACL WHOAMI"} {
		if err := do(t, dial("operator"), command); err != nil && !errors.Is(err, redis.Nil) {
			t.Errorf("operator: %s: %v", command, err)
		}
	}
}

// do runs one command, given as words.
func do(t *testing.T, c *redis.Client, command string) error {
	var args []any
	for _, word := range strings.Fields(command) {
		args = append(args, word)
	}
	return c.Do(t.Context(), args...).Err()
}
