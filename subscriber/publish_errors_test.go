package subscriber

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// TestClassifyErrors has each error that storing a message can return: those of JetStream's
// publish path by the server's own list, every code that the client library names, and the
// library's own.
func TestClassifyErrors(t *testing.T) {
	const refused, notNow, noAnswer = "refused", "not now", "no answer"
	tests := map[string]map[int]int{ // class -> error code -> HTTP-like code
		refused: {
			10003: 400, 10054: 400, 10060: 400, 10070: 400, 10071: 400, 10096: 500, 10097: 400, 10109: 400, 10111: 500,
			10164: 400, 10165: 400, 10166: 400, 10168: 400, 10169: 400, 10170: 400, 10171: 400, 10172: 400,
			10174: 400, 10175: 400, 10176: 400, 10177: 400, 10179: 400, 10180: 412, 10185: 412,
			10188: 400, 10189: 400, 10190: 400, 10191: 400, 10192: 400, 10193: 400, 10199: 400, 10200: 400, 10201: 400, 10203: 400,
			10205: 400, 10206: 400, 10207: 400, 10208: 400, 10212: 400, 10223: 400, 10227: 400,
			// Not of a publication, but named by the library.
			10013: 400, 10014: 404, 10026: 400, 10037: 404, 10058: 400, 10105: 400, 10148: 400, 10149: 400, 10186: 400, 10187: 400, 10204: 400,
		},
		notNow: {
			10002: 400, 10008: 503, 10009: 500, 10023: 503, 10028: 500, 10035: 503, 10039: 503, 10047: 500, 10051: 500, 10059: 404,
			10063: 503, 10076: 503, 10077: 503, 10118: 500, 10158: 409, 10163: 503, 10167: 429, 10194: 500, 10210: 429, 10211: 429,
			10012: 500, 10136: 500, 10138: 500, 10139: 500,
		},
	}
	class := func(err error) string {
		switch {
		case errors.Is(err, bridge.ErrRefused) && errors.Is(err, bridge.ErrNotNow):
			return "both"
		case errors.Is(err, bridge.ErrRefused):
			return refused
		case errors.Is(err, bridge.ErrNotNow):
			return notNow
		}
		return noAnswer
	}
	seen := make(map[jetstream.ErrorCode]bool)
	for want, codes := range tests {
		for code, status := range codes {
			seen[jetstream.ErrorCode(code)] = true
			err := classify(&jetstream.APIError{Code: status, ErrorCode: jetstream.ErrorCode(code), Description: "no space left on device"})
			if got := class(err); got != want {
				t.Errorf("error code %d: %s, want %s", code, got, want)
			}
		}
	}
	for _, code := range []jetstream.ErrorCode{
		jetstream.JSErrCodeJetStreamNotEnabledForAccount, jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeStreamNotFound,
		jetstream.JSErrCodeStreamNameInUse, jetstream.JSErrCodeConsumerCreate, jetstream.JSErrCodeConsumerNotFound,
		jetstream.JSErrCodeConsumerNameExists, jetstream.JSErrCodeConsumerAlreadyExists, jetstream.JSErrCodeConsumerExists,
		jetstream.JSErrCodeDuplicateFilterSubjects, jetstream.JSErrCodeOverlappingFilterSubjects, jetstream.JSErrCodeConsumerEmptyFilter,
		jetstream.JSErrCodeConsumerDoesNotExist, jetstream.JSErrCodeMessageNotFound, jetstream.JSErrCodeBadRequest,
		jetstream.JSErrCodeStreamWrongLastSequence, jetstream.JSErrCodeStreamWrongLastSequenceConstant,
		jetstream.JSErrCodeStreamMessageExceedsMaximum, jetstream.JSErrCodeMaximumConsumersLimit,
		jetstream.JSErrCodeMirrorWithMsgSchedules, jetstream.JSErrCodeSourceWithMsgSchedules, jetstream.JSErrCodeMessageSchedulesDisabled,
		jetstream.JSErrCodeSchedulePatternInvalid, jetstream.JSErrCodeScheduleTargetInvalid, jetstream.JSErrCodeScheduleTTLInvalid,
		jetstream.JSErrCodeScheduleRollupInvalid, jetstream.JSErrCodeScheduleSourceInvalid, jetstream.JSErrCodeConsumerInvalidReset,
	} {
		if !seen[code] {
			t.Errorf("error code %d of the client library is in no class", code)
		}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nats.ErrMaxPayload, refused}, {nats.ErrBadSubject, refused}, {nats.ErrHeadersNotSupported, refused}, {nats.ErrBadHeaderMsg, refused}, {errDenied, refused},
		{storeFailed(server.ErrMaxMsgs), refused}, {storeFailed(server.ErrMaxBytes), refused}, {storeFailed(server.ErrMaxMsgsPerSubject), refused},
		{jetstream.ErrNoStreamResponse, notNow},
		{errLost, noAnswer}, {errNoAck, noAnswer}, {nats.ErrTimeout, noAnswer}, {nats.ErrConnectionClosed, noAnswer}, {nats.ErrReconnectBufExceeded, noAnswer},
	} {
		if got := class(classify(fmt.Errorf("publish: %w", tt.err))); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}

func storeFailed(why error) error {
	return &jetstream.APIError{Code: 503, ErrorCode: codeStoreFailed, Description: why.Error()}
}

// TestDeadLettersThatNATSRefuses provokes refusals in a real server. Each must end: with a
// minimal dead letter where NATS takes that, else with an error that says so.
func TestDeadLettersThatNATSRefuses(t *testing.T) {
	t.Parallel()
	dead := jetstream.StreamConfig{Name: "BRIDGE_DEAD", Subjects: []string{"bridge.dead.>"}}
	tests := map[string]struct {
		options func(*server.Options)
		stream  func(*jetstream.StreamConfig)
		prepare func(*testing.T, *natstest.Instance, *Client)
		want    error // nil: a minimal dead letter
	}{
		"max_msg_size": {stream: func(s *jetstream.StreamConfig) { s.MaxMsgSize = 1000 }},
		"full and discards new": {
			stream: func(s *jetstream.StreamConfig) { s.MaxMsgs, s.Discard = 1, jetstream.DiscardNew },
			prepare: func(t *testing.T, _ *natstest.Instance, c *Client) {
				if _, err := c.js.Publish(t.Context(), "bridge.dead.first", nil); err != nil {
					t.Fatal(err)
				}
			},
			want: bridge.ErrRefused,
		},
		"full of bytes and discards new": {
			stream: func(s *jetstream.StreamConfig) { s.MaxBytes, s.Discard = 200, jetstream.DiscardNew },
			want:   bridge.ErrRefused,
		},
		"sealed": {
			stream: func(*jetstream.StreamConfig) {},
			prepare: func(t *testing.T, _ *natstest.Instance, c *Client) {
				sealed := dead
				sealed.Sealed = true
				if _, err := c.js.UpdateStream(t.Context(), sealed); err != nil {
					t.Fatal(err)
				}
			},
			want: bridge.ErrRefused,
		},
		"deleted, and its subjects are another stream's": {
			stream: func(*jetstream.StreamConfig) {},
			prepare: func(t *testing.T, _ *natstest.Instance, c *Client) {
				if err := c.js.DeleteStream(t.Context(), dead.Name); err != nil {
					t.Fatal(err)
				}
				if _, err := c.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "THIEF", Subjects: []string{"bridge.dead.other"}}); err != nil {
					t.Fatal(err)
				}
			},
			want: bridge.ErrNotNow,
		},
		"not permitted": {
			options: func(o *server.Options) {
				o.Users = []*server.User{
					{Username: "bridge", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"bridge.dead.>"}}}},
					{Username: "admin", Password: "p"},
				}
			},
			stream: func(*jetstream.StreamConfig) {},
			want:   bridge.ErrRefused,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := DefaultConfig()
			var s *natstest.Instance
			var login []nats.Option
			if tt.options != nil {
				s = natstest.Server(t, tt.options)
				cfg.User, cfg.Password = "bridge", "p"
				login = append(login, nats.UserInfo("admin", "p"))
			} else {
				s = natstest.Server(t)
			}
			cfg.URL = s.URL()
			js, err := jetstream.New(s.Connect(login...))
			if err != nil {
				t.Fatal(err)
			}
			stream := dead
			tt.stream(&stream)
			if _, err := js.CreateStream(t.Context(), stream); err != nil {
				t.Fatal(err)
			}
			c := open(t, cfg, "a", discard)
			waitFor(t, "ready", func() bool { return c.Ready() == nil })
			if tt.prepare != nil {
				tt.prepare(t, s, c)
			}
			m := &bridge.Message{
				Offset: bridge.Offset{Epoch: 5, Seq: 9}, Subject: "codewar.t", Topic: "t", Body: []byte(strings.Repeat("x", 5000)),
				Header: map[string][]string{"x": {"a", "b"}},
			}
			err = c.StoreDeadLetter(t.Context(), m, &bridge.InvalidError{Code: bridge.CodeInvalidJSON, Message: "no"})
			if !errors.Is(err, tt.want) {
				t.Fatalf("DeadLetter: %v, want %v", err, tt.want)
			}
			if tt.want != nil {
				return
			}
			letters := deadLetters(t, c)
			if len(letters) != 1 {
				t.Fatalf("%d dead letters, want a minimal one", len(letters))
			}
			h := letters[0].Header
			for name, want := range map[string]string{
				HeaderDeadCode: "INVALID_JSON", HeaderDeadSubject: "codewar.t", HeaderDeadOffset: "5-9", HeaderDeadCut: "5000",
				HeaderDeadOmitted: "2", HeaderOriginal + "x": "", HeaderDeadUser: "",
			} {
				if got := h.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if len(letters[0].Data) > 0 {
				t.Errorf("the minimal dead letter has a body of %d bytes", len(letters[0].Data))
			}
		})
	}
}

// TestDeadLettersOfRawHeaders: what a raw client has sent as headers, and the client library reads
// but does not publish, must not keep the dead letter from being stored.
func TestDeadLettersOfRawHeaders(t *testing.T) {
	t.Parallel()
	_, c, d := deadLetterOperator(t)
	for i, name := range []string{"a b", "\xff", "\x00", "ü", "tab\t", "plain", ""} {
		m := &bridge.Message{
			Offset: bridge.Offset{Epoch: 5, Seq: uint64(i + 1)}, Subject: "codewar.\xff", Body: []byte("{bad"),
			Header: map[string][]string{name: {"v\xff\x00\r\n", "w"}, "good": {"v"}},
		}
		if err := c.StoreDeadLetter(t.Context(), m, &bridge.InvalidError{Code: bridge.CodeInvalidJSON, Message: "no"}); err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		l, err := d.Read(t.Context(), uint64(i+1))
		if err != nil || string(l.Body) != "{bad" || len(l.Header["good"]) != 1 || l.Cut != (name != "plain") {
			t.Errorf("%q: %+v, %v", name, l, err)
		}
	}
}

// TestDeadLetterOfManyHeaders: 3,300 small headers exceed the 64 KB of headers that JetStream
// takes, because each name grows in the copy.
func TestDeadLetterOfManyHeaders(t *testing.T) {
	t.Parallel()
	_, c, d := deadLetterOperator(t)
	m := nats.NewMsg("codewar.t")
	m.Data = []byte("{not json")
	for i := range 3300 {
		m.Header.Set(fmt.Sprintf("h%d", i), "v")
	}
	ack, err := c.js.PublishMsg(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.StoreDeadLetter(t.Context(), &bridge.Message{
		Offset: bridge.Offset{Epoch: c.streams.epoch(), Seq: ack.Sequence}, Subject: m.Subject, Header: m.Header, Body: m.Data,
	}, &bridge.InvalidError{Code: bridge.CodeInvalidJSON, Message: "no"}); err != nil {
		t.Fatal(err)
	}
	l, err := d.Read(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Header) != maxOriginalValues || !l.Cut || string(l.Body) != "{not json" || l.Size != len(m.Data) {
		t.Errorf("%d headers, cut %v, body %q of size %d", len(l.Header), l.Cut, l.Body, l.Size)
	}
	letters := deadLetters(t, c)
	if got := letters[0].Header.Get(HeaderDeadOmitted); got != fmt.Sprint(3300-maxOriginalValues) {
		t.Errorf("%s is %q", HeaderDeadOmitted, got)
	}
	if _, err := d.Replay(t.Context(), 1); err != nil { // all headers, from the stream
		t.Errorf("Replay: %v", err)
	}
	stream, err := c.js.Stream(t.Context(), c.cfg.Stream.Name)
	if err != nil {
		t.Fatal(err)
	}
	replayed, err := stream.GetMsg(t.Context(), 2)
	if err != nil || replayed.Header.Get("h3299") != "v" {
		t.Errorf("replayed without its headers: %v", err)
	}
}
