package subscriber

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// TestRepliesGoToInboxesOnly: a client that may talk to nodes, and to nothing else, must not
// have their answers published where it may not publish itself.
func TestRepliesGoToInboxesOnly(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	new(linkEnd).serve(t, c)
	if err := c.ServeQueries(func(string, []byte) []byte { return []byte("{}") }); err != nil {
		t.Fatal(err)
	}
	h := c.newTestHandover(t)
	h.setReading(true)
	publish(t, c, 0, 3)
	nc := s.Connect()
	all := make(chan *nats.Msg, 100)
	for _, subject := range []string{"codewar.>", "bridge.>", "other.>", "_INBOX.ours.>"} {
		if _, err := nc.ChanSubscribe(subject, all); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	forward := encodeForward([]*bridge.Envelope{{User: "u", Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: 1, Seq: 1}}}, 1<<20)[0].data
	head{kindForward, 1, 1}.put(forward)
	asked := map[string][]byte{
		c.cfg.nodeSubject("a"): forward, c.cfg.querySubject("a", "state"): nil, c.cfg.resignedSubject(): nil,
	}
	raw := s.Connect() // what it publishes is not what all receives from itself
	for subject, data := range asked {
		for _, reply := range []string{
			"codewar.injected", "other.subject", "bridge.codewar.ask.a.other", "$JS.API.STREAM.PURGE.CODEWAR", "$JS.API.STREAM.DELETE.BRIDGE_DEAD",
			"_INBOX", "_INBOXES.x", "_INBOX.ours.last." + subject,
		} {
			if err := raw.PublishRequest(subject, reply, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	for answered := 0; answered < len(asked); {
		m := <-all
		switch {
		case asked[m.Subject] != nil, m.Reply != "": // a question of ours
		case len(m.Subject) > 12 && m.Subject[:12] == "_INBOX.ours.":
			answered++
		default:
			t.Errorf("answered on %s", m.Subject)
		}
	}
	info, err := c.streams.ensure(t.Context())
	if err != nil || info.messages != 3 {
		t.Errorf("the stream has %d messages, want its 3: %v", info.messages, err)
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a", "a.b", false},
		{"a.b", "a", false},
		{"a.*", "a.b", true},
		{"a.*", "a.b.c", false},
		{"*.b", "a.b", true},
		{"a.>", "a.b.c", true},
		{"a.>", "a", false},
		{">", "a.b", true},
		{"a*", "ab", false},
	} {
		if got := server.SubjectMatchesFilter(tt.subject, tt.pattern); got != tt.want {
			t.Errorf("pattern(%q, %q) = %v, want %v", tt.pattern, tt.subject, got, tt.want)
		}
	}
}
