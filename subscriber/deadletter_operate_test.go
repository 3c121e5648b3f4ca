package subscriber

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// deadLetterOperator is a server with its streams, a client, and an operator's access.
func deadLetterOperator(t testing.TB) (*natstest.Instance, *Client, *DeadLetters) {
	t.Helper()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	return s, c, openDead(t, testConfig(s))
}

func openDead(t testing.TB, cfg Config) *DeadLetters {
	t.Helper()
	d, err := OpenDeadLetters(t.Context(), cfg, discard)
	if err != nil {
		t.Fatalf("OpenDeadLetters: %v", err)
	}
	t.Cleanup(d.Close)
	return d
}

// poison publishes a message and stores its dead letter, as the router does.
func poison(t testing.TB, c *Client, subject, code, body string, header map[string][]string) {
	t.Helper()
	m := &nats.Msg{Subject: subject, Header: maps.Clone(header), Data: []byte(body)}
	ack, err := c.js.PublishMsg(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	err = c.StoreDeadLetter(t.Context(), &bridge.Message{
		Offset: bridge.Offset{Epoch: c.streams.epoch(), Seq: ack.Sequence}, Subject: m.Subject, Topic: "t",
		Header: header, Body: m.Data,
	}, &bridge.InvalidError{Code: code, Message: "it is " + strings.ToLower(code)})
	if err != nil {
		t.Fatal(err)
	}
}

// listed is the sequences of the selected letters.
func listed(t testing.TB, d *DeadLetters, s Selection) (seqs []uint64) {
	t.Helper()
	for l, err := range d.List(t.Context(), s) {
		if err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, l.Seq)
	}
	return seqs
}

// stored is the message at a sequence of the main stream.
func stored(t testing.TB, c *Client, seq uint64) *jetstream.RawStreamMsg {
	t.Helper()
	stream, err := c.js.Stream(t.Context(), c.cfg.Stream.Name)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), seq)
	if err != nil {
		t.Fatalf("message %d: %v", seq, err)
	}
	for _, added := range directHeaders {
		m.Header.Del(added)
	}
	return m
}

// messages counts what the main stream has.
func messages(t testing.TB, c *Client) uint64 {
	t.Helper()
	stream, err := c.js.Stream(t.Context(), c.cfg.Stream.Name)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().State.Msgs
}

func TestDeadLettersShowsWhatWasBuried(t *testing.T) {
	t.Parallel()
	_, c, d := deadLetterOperator(t)
	header := map[string][]string{"x": {"a", "b"}, "Nats-Msg-Id": {"id"}}
	poison(t, c, "codewar.t", bridge.CodeInvalidJSON, "{not json", header)

	got, err := d.Read(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	want := DeadLetter{
		Seq: 1, At: got.At, Code: "INVALID_JSON", Reason: "it is invalid_json", Subject: "codewar.t",
		Offset: bridge.Offset{Epoch: c.streams.epoch(), Seq: 1}, Size: 9, Header: header, Body: []byte("{not json"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("Letter (-want +got):\n", diff)
	}
	if age := time.Since(got.At); age < 0 || age > time.Minute {
		t.Errorf("stored at %v", got.At)
	}
	want.Body = nil
	for l, err := range d.List(t.Context(), Selection{}) {
		if diff := cmp.Diff(want, l); diff != "" || err != nil {
			t.Errorf("List (-want +got), error %v:\n%s", err, diff)
		}
	}
	if _, err := d.Read(t.Context(), 2); !errors.Is(err, ErrNoDeadLetter) {
		t.Errorf("a letter that is not there: %v", err)
	}
	if err := d.Delete(t.Context(), 2); !errors.Is(err, ErrNoDeadLetter) {
		t.Errorf("deleting it: %v", err)
	}
}

func TestDeadLettersSelects(t *testing.T) {
	t.Parallel()
	_, c, d := deadLetterOperator(t)
	if got := listed(t, d, Selection{}); got != nil {
		t.Errorf("letters in an empty stream: %v", got)
	}
	poison(t, c, "codewar.t", bridge.CodeInvalidJSON, "1", nil)
	poison(t, c, "codewar.t", bridge.CodeInvalidUTF8, "2", nil)
	between := time.Now()
	waitFor(t, "half a second to pass", func() bool { return time.Since(between) > 500*time.Millisecond })
	poison(t, c, "codewar.t", bridge.CodeInvalidJSON, "3", nil)

	for name, test := range map[string]struct {
		selection Selection
		want      []uint64
	}{
		"all":                {Selection{}, []uint64{1, 2, 3}},
		"reason":             {Selection{Code: "INVALID_JSON"}, []uint64{1, 3}},
		"reason, lower case": {Selection{Code: "invalid_utf8"}, []uint64{2}},
		"unknown reason":     {Selection{Code: "NONE"}, nil},
		"older":              {Selection{Older: time.Since(between)}, []uint64{1, 2}},
		"newer":              {Selection{Newer: time.Since(between)}, []uint64{3}},
		"all of it":          {Selection{Code: "INVALID_JSON", Older: time.Since(between), Newer: time.Hour}, []uint64{1}},
		"much older":         {Selection{Older: time.Hour}, nil},
	} {
		if diff := cmp.Diff(test.want, listed(t, d, test.selection)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}

	for l, err := range d.List(t.Context(), Selection{Code: "INVALID_JSON", Older: time.Since(between)}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Delete(t.Context(), l.Seq); err != nil {
			t.Error(err)
		}
	}
	if got := listed(t, d, Selection{}); !slices.Equal(got, []uint64{2, 3}) {
		t.Errorf("left after deleting by reason and age: %v", got)
	}
	if got := messages(t, c); got != 3 {
		t.Errorf("%d messages in the messages' stream, want all 3", got)
	}
}

// TestDeadLettersListsPages lists more than one fetch, while letters go and come.
func TestDeadLettersListsPages(t *testing.T) {
	t.Parallel()
	_, c, d := deadLetterOperator(t)
	const n = 2*readBatch + 10
	for i := range n {
		poison(t, c, "codewar.t", bridge.CodeInvalidJSON, fmt.Sprint(i), nil)
	}
	if got := listed(t, d, Selection{}); len(got) != n || !slices.IsSorted(got) {
		t.Errorf("%d letters listed, want %d in order", len(got), n)
	}
	var got []uint64
	for l, err := range d.List(t.Context(), Selection{}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, l.Seq); len(got) == 1 {
			for seq := range uint64(readBatch) { // the whole second page and no more
				if err := d.Delete(t.Context(), readBatch+1+seq); err != nil {
					t.Fatal(err)
				}
			}
			poison(t, c, "codewar.t", bridge.CodeInvalidJSON, "later", nil)
		}
	}
	if len(got) != n-readBatch || got[len(got)-1] != n {
		t.Errorf("%d letters up to %d, want %d up to %d", len(got), got[len(got)-1], n-readBatch, n)
	}
	for l := range d.List(t.Context(), Selection{}) { // may be left early
		if l.Seq != 1 {
			t.Errorf("first is %d", l.Seq)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range d.List(ctx, Selection{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("List with an ended context: %v", err)
		}
	}
}

func TestDeadLettersReplays(t *testing.T) {
	t.Parallel()
	_, c, d := deadLetterOperator(t)
	body := "\x00\xff{not json\r\n"
	header := map[string][]string{
		"x": {"a", "b"}, "X-Case": {"C"}, "Bridge-Offline": {"drop"},
		"Nats-Msg-Id": {"id"}, "Nats-Expected-Last-Sequence": {"0"},
	}
	poison(t, c, "codewar.t", bridge.CodeInvalidUTF8, body, header)
	poison(t, c, "codewar.t", bridge.CodeInvalidJSON, "other", nil)
	letter, err := d.Read(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}

	r, err := d.Replay(t.Context(), 1)
	if err != nil || r != (Replayed{Seq: 3}) {
		t.Fatalf("Replay = %+v, %v; want message 3", r, err)
	}
	got := stored(t, c, r.Seq)
	id := got.Header.Get(nats.MsgIdHdr)
	got.Header.Del(nats.MsgIdHdr)
	want := nats.Header{"x": {"a", "b"}, "X-Case": {"C"}, "Bridge-Offline": {"drop"}}
	if diff := cmp.Diff(want, got.Header); diff != "" || got.Subject != "codewar.t" || !bytes.Equal(got.Data, []byte(body)) {
		t.Errorf("replayed %q on %s, header (-want +got):\n%s", got.Data, got.Subject, diff)
	}
	if id == "" || id == "id" {
		t.Errorf("Nats-Msg-Id %q", id)
	}
	if left := listed(t, d, Selection{}); !slices.Equal(left, []uint64{2}) {
		t.Errorf("letters left: %v, want only the other", left)
	}
	if _, err := d.Replay(t.Context(), 1); !errors.Is(err, ErrNoDeadLetter) {
		t.Errorf("replay of a letter that is gone: %v", err)
	}

	// The first operator died between publishing and deleting, another tries again.
	m := nats.NewMsg("bridge.dead.invalid_utf8")
	m.Data = []byte(body)
	m.Header.Set(HeaderDeadSubject, letter.Subject)
	m.Header.Set(HeaderDeadOffset, letter.Offset.String())
	if _, err := c.js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if r, err := d.Replay(t.Context(), 3); err != nil || r != (Replayed{Seq: 3, Already: true}) {
		t.Errorf("second replay = %+v, %v; want message 3 already there", r, err)
	}
	if left := listed(t, d, Selection{}); !slices.Equal(left, []uint64{2}) {
		t.Errorf("letters left: %v, want only the other", left)
	}
	if got := messages(t, c); got != 3 {
		t.Errorf("%d messages in the messages' stream, want 3", got)
	}
}

func TestDeadLettersReplaysWhatWasCut(t *testing.T) {
	t.Parallel()
	_, c, d := deadLetterOperator(t)
	body := strings.Repeat("x", c.conn.maxPayload()-100) // too large with a reason beside it
	poison(t, c, "codewar.t", bridge.CodeInvalidJSON, body, nil)
	l, err := d.Read(t.Context(), 1)
	if err != nil || !l.Cut || l.Size != len(body) || len(l.Body) >= len(body) {
		t.Fatalf("letter of %d bytes with %d, cut %v: %v", l.Size, len(l.Body), l.Cut, err)
	}
	if r, err := d.Replay(t.Context(), 1); err != nil || string(stored(t, c, r.Seq).Data) != body {
		t.Errorf("Replay = %+v, %v; want the whole body", r, err)
	}

	created := c.streams.state().created
	c.streams.setLineage((*lineage)(nil).branch(created, 2, time.Now())) // the stream went back
	poison(t, c, "codewar.t", bridge.CodeInvalidJSON, body, nil)
	if l, err := d.Read(t.Context(), 2); err != nil || l.Offset.Epoch == created {
		t.Fatalf("letter of %v, %v; want one of a later epoch than that of the stream's creation", l.Offset, err)
	}
	if r, err := d.Replay(t.Context(), 2); err != nil || string(stored(t, c, r.Seq).Data) != body {
		t.Errorf("Replay in a later epoch = %+v, %v; want the whole body", r, err)
	}

	poison(t, c, "codewar.t", bridge.CodeInvalidJSON, body, nil)
	l, err = d.Read(t.Context(), 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.js.DeleteStream(t.Context(), "CODEWAR"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Replay(t.Context(), 3); !errors.Is(err, ErrCannotReplay) {
		t.Errorf("replay of a cut letter whose message is gone: %v", err)
	}
	if err := c.streams.ensureBoth(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range l.Offset.Seq {
		if _, err := c.js.Publish(t.Context(), "codewar.t", []byte("another message")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Replay(t.Context(), 3); !errors.Is(err, ErrCannotReplay) {
		t.Errorf("replay of a cut letter in whose place another message is: %v", err)
	}
	if left := listed(t, d, Selection{}); !slices.Equal(left, []uint64{3}) {
		t.Errorf("letters left: %v, want the one that was not replayed", left)
	}
}

// TestDeadLettersReplaysOnlyMessages: any program may write to the dead letters'
// subjects, and must not have us publish for them.
func TestDeadLettersReplaysOnlyMessages(t *testing.T) {
	t.Parallel()
	_, c, d := deadLetterOperator(t)
	forged := []string{"", "$JS.API.STREAM.PURGE.CODEWAR", "bridge.codewar.node.a", "codewarfare.t", "codewar.t 5", "codewar."}
	for _, subject := range forged {
		m := nats.NewMsg("bridge.dead.forged")
		m.Header.Set(HeaderDeadSubject, subject)
		m.Header.Set(HeaderDeadOffset, "1-1")
		if _, err := c.js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.js.Publish(t.Context(), "bridge.dead.bare", nil); err != nil { // no header at all
		t.Fatal(err)
	}
	var codes []string
	for l, err := range d.List(t.Context(), Selection{}) {
		if err != nil {
			t.Fatal(err)
		}
		codes = append(codes, l.Code)
		if _, err := d.Replay(t.Context(), l.Seq); !errors.Is(err, ErrCannotReplay) {
			t.Errorf("replay of a letter for %q: %v", l.Subject, err)
		}
	}
	if len(codes) != len(forged)+1 || codes[0] != "FORGED" || codes[len(forged)] != "BARE" {
		t.Errorf("codes %q", codes)
	}
}

func TestDeadLettersOfAnEmbeddedServer(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t)
	cfg.Token = "secret"
	cfg.Embedded.Addr = freeAddr(t)
	if _, err := OpenDeadLetters(t.Context(), cfg, discard); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("without a bridge: %v", err)
	}
	c := open(t, cfg, "a", discard)
	poison(t, c, "codewar.t", bridge.CodeInvalidJSON, "x", nil)
	if got := listed(t, openDead(t, cfg), Selection{}); !slices.Equal(got, []uint64{1}) {
		t.Errorf("letters: %v", got)
	}
	cfg.Token = "wrong"
	if _, err := OpenDeadLetters(t.Context(), cfg, discard); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("with the wrong token: %v", err)
	}
}

func TestDeadLettersWhenNATSGoes(t *testing.T) {
	t.Parallel()
	s, c, d := deadLetterOperator(t)
	poison(t, c, "codewar.t", bridge.CodeInvalidJSON, "x", nil)
	s.Shutdown()
	if _, err := d.Read(t.Context(), 1); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Letter: %v", err)
	}
	if _, err := d.Replay(t.Context(), 1); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Replay: %v", err)
	}
	if err := d.Delete(t.Context(), 1); !errors.Is(err, bridge.ErrUnavailable) {
		t.Errorf("Delete: %v", err)
	}
	for _, err := range d.List(t.Context(), Selection{}) {
		if !errors.Is(err, bridge.ErrUnavailable) {
			t.Errorf("List: %v", err)
		}
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1:4222": "127.0.0.1:4222", ":4222": "127.0.0.1:4222", "0.0.0.0:4222": "127.0.0.1:4222",
		"[::]:4222": "127.0.0.1:4222", "[::1]:4222": "[::1]:4222", "localhost:4222": "localhost:4222",
	} {
		if got := dialAddr(addr); got != want {
			t.Errorf("dialAddr(%q) = %q, want %q", addr, got, want)
		}
	}
}

// freeAddr is an address that no process listens on now.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestReplayIsNotSuppressed: the id of a replay can be guessed, so a publisher can have used it.
func TestReplayIsNotSuppressed(t *testing.T) {
	t.Parallel()
	_, c, d := deadLetterOperator(t)
	poison(t, c, "codewar.t", bridge.CodeInvalidJSON, "{", nil)
	l, err := d.Read(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	forged := nats.NewMsg("codewar.t")
	forged.Header.Set(nats.MsgIdHdr, "replay-"+l.Offset.String())
	if _, err := c.js.PublishMsg(t.Context(), forged); err != nil {
		t.Fatal(err)
	}
	r, err := d.Replay(t.Context(), 1)
	if err != nil || r.Already || r.Seq != 3 {
		t.Errorf("Replay: %+v, %v; want it stored as message 3", r, err)
	}
}
