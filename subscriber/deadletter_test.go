package subscriber

import (
	"bytes"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// deadLetters is what the dead-letter stream has.
func deadLetters(t testing.TB, c *Client) (letters []*jetstream.RawStreamMsg) {
	t.Helper()
	stream, err := c.js.Stream(t.Context(), c.cfg.DeadLetter.Stream)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range stream.CachedInfo().State.LastSeq {
		m, err := stream.GetMsg(t.Context(), seq+1)
		if err != nil {
			t.Fatal(err)
		}
		letters = append(letters, m)
	}
	return letters
}

func TestDeadLetterCanBeReplayed(t *testing.T) {
	t.Parallel()
	c := ready(t, natstest.Server(t), "a")
	m := &bridge.Message{
		Offset: bridge.Offset{Epoch: 5, Seq: 9}, Subject: "codewar.t", Topic: "t", Body: []byte("{not json"),
		Header: map[string][]string{nats.MsgIdHdr: {"id"}, "x": {"a", "b"}, "Nats-TTL": {"1s"}},
	}
	why := &bridge.InvalidError{Code: bridge.CodeInvalidJSON, Message: "Missing topic, payload or userId"}
	for range 2 { // twice is once
		if err := c.StoreDeadLetter(t.Context(), m, why); err != nil {
			t.Fatal(err)
		}
	}
	letters := deadLetters(t, c)
	if len(letters) != 1 {
		t.Fatalf("%d dead letters, want 1", len(letters))
	}
	d := letters[0]
	if d.Subject != "bridge.dead.invalid_json" {
		t.Errorf("subject %q", d.Subject)
	}
	original, added := make(map[string][]string), make(map[string]string)
	for name, values := range d.Header {
		if own, ok := strings.CutPrefix(name, HeaderOriginal); ok {
			original[own] = values
		} else {
			added[name] = values[0]
		}
	}
	if diff := cmp.Diff(m.Header, original); diff != "" || !bytes.Equal(d.Data, m.Body) {
		t.Errorf("replay would differ: body %q, header %s", d.Data, diff)
	}
	if _, err := time.Parse(time.RFC3339Nano, added[HeaderDeadAt]); err != nil {
		t.Error(err)
	}
	maps.DeleteFunc(added, func(name, _ string) bool { return name == HeaderDeadAt })
	want := map[string]string{
		nats.MsgIdHdr: "5-9", HeaderDeadCode: "INVALID_JSON", HeaderDeadReason: why.Message,
		HeaderDeadSubject: "codewar.t", HeaderDeadOffset: "5-9",
	}
	if diff := cmp.Diff(want, added); diff != "" {
		t.Error("headers (-want +got):\n", diff)
	}
}

func TestDeadLetterIsCutToFit(t *testing.T) {
	t.Parallel()
	c := ready(t, natstest.Server(t), "a")
	why := &bridge.InvalidError{Code: bridge.CodeInvalidUTF8, Message: "no"}
	full := c.conn.maxPayload()
	for i, m := range []*bridge.Message{
		{Body: make([]byte, full)},
		{Body: make([]byte, 100), Header: map[string][]string{"Big": {strings.Repeat("x", full-120)}}},
	} {
		m.Subject, m.Offset = "codewar.t", bridge.Offset{Epoch: 1, Seq: uint64(i + 1)}
		if err := c.StoreDeadLetter(t.Context(), m, why); err != nil {
			t.Errorf("message %d: %v", i, err)
		}
	}
	letters := deadLetters(t, c)
	if len(letters) != 2 {
		t.Fatalf("%d dead letters, want 2", len(letters))
	}
	if got := letters[0]; len(got.Data) < full-1000 || got.Header.Get(HeaderDeadCut) != "1048576" {
		t.Errorf("body of %d bytes, cut header %q", len(got.Data), got.Header.Get(HeaderDeadCut))
	}
	if got := letters[1]; len(got.Data) != 100 || got.Header.Get(HeaderOriginal+"Big") != "" {
		t.Errorf("body of %d bytes, want all 100 and no original header", len(got.Data))
	}
}
