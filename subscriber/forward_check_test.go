package subscriber

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// badEnvelopes are one good envelope with one thing wrong each.
func badEnvelopes(stream streamState) map[string]*bridge.Envelope {
	bad := func(change func(*bridge.Envelope)) *bridge.Envelope {
		e := &bridge.Envelope{
			User: "u", Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: stream.epoch, Seq: stream.last + 1},
		}
		change(e)
		return e
	}
	return map[string]*bridge.Envelope{
		"no user":          bad(func(e *bridge.Envelope) { e.User = "" }),
		"user of controls": bad(func(e *bridge.Envelope) { e.User = "a\nb" }),
		"reserved event":   bad(func(e *bridge.Envelope) { e.Topic = "disconnect" }),
		"no event":         bad(func(e *bridge.Envelope) { e.Topic = "" }),
		"event of quotes":  bad(func(e *bridge.Envelope) { e.Topic = `a","b` }),
		"no payload":       bad(func(e *bridge.Envelope) { e.Payload = nil }),
		"no JSON":          bad(func(e *bridge.Envelope) { e.Payload = []byte("{not json}") }),
		"JSON and more":    bad(func(e *bridge.Envelope) { e.Payload = []byte(`{}],"x"`) }),
		"no object":        bad(func(e *bridge.Envelope) { e.Payload = []byte(`"text"`) }),
		"no UTF-8":         bad(func(e *bridge.Envelope) { e.Payload = []byte("{\"a\":\"\xff\"}") }),
		"deep": bad(func(e *bridge.Envelope) {
			e.Payload = []byte(`{"a":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`)
		}),
		"far offset":       bad(func(e *bridge.Envelope) { e.Offset.Seq = math.MaxUint64 }),
		"far ahead":        bad(func(e *bridge.Envelope) { e.Offset.Seq += maxAhead }),
		"later epoch":      bad(func(e *bridge.Envelope) { e.Offset = bridge.Offset{Epoch: stream.epoch + 1, Seq: 1} }),
		"no offset":        bad(func(e *bridge.Envelope) { e.Offset = bridge.Offset{} }),
		"before itself":    bad(func(e *bridge.Envelope) { e.Before = bridge.Offset{Epoch: e.Offset.Epoch, Seq: math.MaxUint64} }),
		"long traceparent": bad(func(e *bridge.Envelope) { e.Parent = strings.Repeat("0", maxParent+1) }),
	}
}

// TestForwardsAreChecked sends forwards as a client does that may publish on the node's subject:
// a wrong one reaches no socket, is answered as not pushed, and changes nothing for the next.
func TestForwardsAreChecked(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	var book logBook
	c := open(t, testConfig(s), "a", book.logger())
	waitFor(t, "client ready", func() bool { return c.Ready() == nil })
	var end linkEnd
	end.serve(t, c)
	nc := s.Connect()
	term := uint64(time.Now().UnixMicro())
	forward := func(seq uint64, batch ...*bridge.Envelope) (counts []bridge.Count) {
		t.Helper()
		data := encodeForward(batch, 1<<20)[0].data
		head{kindForward, term, seq}.put(data)
		m, err := nc.Request(c.cfg.nodeSubject("a"), data, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		_, body, err := decodeHead(m.Data)
		if err == nil {
			counts, err = decodeCounts(body)
		}
		if err != nil {
			t.Fatal(err)
		}
		return counts
	}
	good := one(1)[0]
	forward(1, good)
	before := end.all()
	refused := uint64(0)
	for name, e := range badEnvelopes(c.streams.state()) {
		for _, batch := range [][]*bridge.Envelope{{e}, {good, e}} {
			refused++
			if counts := forward(math.MaxUint64-refused, batch...); len(counts) != 0 {
				t.Errorf("%s: answered with %v, want no counts", name, counts)
			}
		}
	}
	for _, data := range []string{"", "x", "\x02", strings.Repeat("\x01", headSize), "\x01\x03" + strings.Repeat("\xff", 30)} {
		refused++
		if err := nc.Publish(c.cfg.nodeSubject("a"), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if got := end.all(); len(got) != len(before) {
		t.Errorf("wrong forwards did %q", got[len(before):])
	}
	if counts := forward(2, good); len(counts) != 1 {
		t.Errorf("a good forward after them: %v", counts)
	}
	if got := end.all(); len(got) != len(before)+1 {
		t.Errorf("the good forward did %q, want itself only", got[len(before):])
	}
	if got := c.refusedLinks(); got != refused {
		t.Errorf("%d counted, want %d", got, refused)
	}
	if n := book.count("link message refused"); n != 1 {
		t.Errorf("logged %d times, want once in ten seconds", n)
	}
}

// TestForwardOfANewStream: what is refused because this node has not yet seen that the stream is
// another one is accepted once it has, without waiting for the next look.
func TestForwardOfANewStream(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	var end linkEnd
	end.serve(t, c)
	before := c.streams.epoch()
	js := c.js
	if err := js.DeleteStream(t.Context(), "CODEWAR"); err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), mainConfig(c.cfg))
	if err != nil {
		t.Fatal(err)
	}
	now := uint64(stream.CachedInfo().Created.UnixMilli())
	e := one(1)
	e[0].Offset.Epoch = now
	began := time.Now()
	leader := ready(t, s, "leader")
	waitFor(t, "the forward", func() bool { a := <-forwardTo(leader, 1, "a", e); return a.err == nil })
	if took := time.Since(began); took > lookEvery/2 || now == before {
		t.Errorf("took %v, epoch %d after %d", took, now, before)
	}
}

// TestTermThatNoLeaderHas: a forged term ends to count when its leader says nothing.
func TestTermThatNoLeaderHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var end linkEnd
		s := testReceiver(&end)
		beat := func(term, seq uint64) { s.handle(link(head{kindBeat, term, seq})) }
		beat(7, 0)
		beat(math.MaxUint64, 5) // forged
		for range 4 {
			time.Sleep(time.Second)
			beat(7, 1) // a hole, which is not noticed now
		}
		if n := end.count("resync"); n != 2 {
			t.Errorf("%d resyncs, want those of two new terms", n)
		}
		time.Sleep(time.Second)
		beat(7, 1)
		beat(7, 1)
		if n := end.count("resync"); n != 3 || s.term != 7 {
			t.Errorf("%d resyncs, term %d: want one more, and the leader's term", n, s.term)
		}
	})
}

func link(h head) *nats.Msg {
	data := make([]byte, headSize)
	h.put(data)
	return &nats.Msg{Data: data}
}

// testReceiver is one without NATS, whose stream has 1,000 messages.
func testReceiver(end *linkEnd) *forwardReceiver {
	return &forwardReceiver{
		heardTerm: new(atomic.Uint64),
		receive: func(batch []*bridge.Envelope, answer func([]bridge.Count)) {
			end.add(fmt.Sprint(len(batch)))
			answer(make([]bridge.Count, len(batch)))
		},
		resync: func() { end.add("resync") },
		stream: func() streamState { return streamState{epoch: 1_700_000_000_000, last: 1000} },
		look:   func() {}, log: slog.New(slog.DiscardHandler),
	}
}

// FuzzLinkMessages feeds anything to a node's subject. Whatever is handed on is as the hub needs
// it, and neither panics nor is ahead of the stream.
func FuzzLinkMessages(f *testing.F) {
	stream := streamState{epoch: 1_700_000_000_000, last: 1000}
	add := func(batch ...*bridge.Envelope) {
		data := encodeForward(batch, 1<<20)[0].data
		head{kindForward, 3, 9}.put(data)
		f.Add(data)
	}
	add(envelopes(3, 100)...)
	add(&bridge.Envelope{User: "ü", Topic: "a.b", Payload: []byte(`{"a":[1,"ü",null,true,{"b":-1.5e3}]}`), Offset: bridge.Offset{Epoch: 1, Seq: 2}, Ack: time.Second, Parent: "00-1-2-01"})
	for _, e := range badEnvelopes(stream) {
		add(e)
	}
	f.Add(link(head{kindBeat, 3, 9}).Data)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		var end linkEnd
		s := testReceiver(&end)
		s.receive = func(batch []*bridge.Envelope, answer func([]bridge.Count)) {
			for _, e := range batch {
				if !bridge.ValidUserID(string(e.User)) || !bridge.ValidTopic(e.Topic) || !bytes.HasPrefix(e.Payload, []byte("{")) || !bytes.HasSuffix(e.Payload, []byte("}")) {
					t.Errorf("handed on: %+v", e)
				}
				if e.Offset.After(bridge.Offset{Epoch: stream.epoch, Seq: stream.last + maxAhead}) || e.Ack > maxAckMillis*time.Millisecond {
					t.Errorf("handed on: offset %v, %v to confirm", e.Offset, e.Ack)
				}
			}
			answer(nil)
		}
		s.handle(&nats.Msg{Data: data})
	})
}

// BenchmarkForwardCheck has the parts of a forward's way at the node that takes it, for a batch of 64:
// decode alone, and with the check.
func BenchmarkForwardCheck(b *testing.B) {
	stream := streamState{epoch: 1_700_000_000_000, last: 1000}
	for _, size := range []int{100, 300, 4096} {
		data := encodeForward(verdicts(64, size), 1<<20)[0].data
		for _, check := range []bool{false, true} {
			b.Run(fmt.Sprintf("payload=%d/check=%v", size, check), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					batch, err := decodeForward(data[headSize:])
					if err == nil && check {
						err = checkForward(batch, stream)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/msg")
			})
		}
	}
}

// verdicts are envelopes with payloads as a judge sends them, of about so many bytes.
func verdicts(n, size int) []*bridge.Envelope {
	batch := envelopes(n, 8)
	for _, e := range batch {
		var p bytes.Buffer
		p.WriteString(`{"submissionId":"sub_123","status":"ACCEPTED"`)
		for i := 0; p.Len() < size-1; i++ {
			fmt.Fprintf(&p, `,"case%d":{"passed":true,"timeMs":%d}`, i, i*7)
		}
		p.WriteByte('}')
		e.Payload = p.Bytes()
	}
	return batch
}
