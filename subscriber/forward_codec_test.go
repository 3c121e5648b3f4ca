package subscriber

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/codewar/socketbridge/bridge"
)

// envelopes has n of them with payloads of so many bytes: JSON objects where eight or more.
func envelopes(n, payload int) (batch []*bridge.Envelope) {
	body := bytes.Repeat([]byte{'x'}, payload)
	if payload >= 8 {
		copy(body, `{"a":"`)
		copy(body[payload-2:], `"}`)
	}
	for i := range n {
		batch = append(batch, &bridge.Envelope{
			User: bridge.UserID(fmt.Sprintf("user_%d", i)), Topic: "submissionUpdate",
			Payload: body, Offset: bridge.Offset{Epoch: 1_700_000_000_000, Seq: uint64(i + 1)},
			Stored: time.Unix(1_700_000_000, int64(i)),
		})
	}
	return batch
}

func decodeParts(t testing.TB, parts []part) (all []*bridge.Envelope) {
	t.Helper()
	for _, p := range parts {
		_, body, err := decodeHead(append([]byte{linkVersion}, p.data[1:]...))
		if err != nil {
			t.Fatal(err)
		}
		batch, err := decodeForward(body)
		if err != nil {
			t.Fatal(err)
		}
		if len(batch) != p.envelopes {
			t.Errorf("part has %d envelopes, says %d", len(batch), p.envelopes)
		}
		all = append(all, batch...)
	}
	return all
}

func TestForwardIsSplitToFit(t *testing.T) {
	tests := map[string]struct {
		batch []*bridge.Envelope
		limit int
		parts int
	}{
		"one part":                    {envelopes(512, 100), 1 << 20, 1},
		"several":                     {envelopes(100, 1000), 10_000, 13},
		"each too large, one at once": {envelopes(3, 1000), 500, 3},
		"empty payloads":              {envelopes(5, 0), 1 << 20, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			parts := encodeForward(tt.batch, tt.limit)
			if len(parts) != tt.parts {
				t.Errorf("%d parts, want %d", len(parts), tt.parts)
			}
			for _, p := range parts {
				if len(p.data) > tt.limit && p.envelopes > 1 {
					t.Errorf("a part of %d envelopes has %d bytes, limit %d", p.envelopes, len(p.data), tt.limit)
				}
			}
			if diff := cmp.Diff(tt.batch, decodeParts(t, parts), cmpopts.EquateEmpty()); diff != "" {
				t.Error("decoded differs (-sent +decoded):\n", diff)
			}
		})
	}
}

func TestCountsComeBack(t *testing.T) {
	want := []bridge.Count{{Took: 1}, {}, {Took: 3, Seen: 300, Acked: 2}}
	got, err := decodeCounts(appendCounts(nil, want))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// FuzzForward feeds anything to the decoders, and what they accept must be the
// same after another round.
func FuzzForward(f *testing.F) {
	for _, batch := range [][]*bridge.Envelope{envelopes(1, 10), envelopes(3, 0), {{User: "ü\x00", Topic: "a.b", Ack: time.Second, Parent: "00-1-2-01"}}} {
		data := encodeForward(batch, 1<<20)[0].data
		head{kindForward, 3, 9}.put(data)
		f.Add(data)
	}
	answer := make([]byte, headSize)
	head{kindAnswer, 3, 9}.put(answer)
	f.Add(appendCounts(answer, []bridge.Count{{Took: 1}, {Seen: 2}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		h, body, err := decodeHead(data)
		if err != nil {
			return
		}
		again := make([]byte, headSize)
		h.put(again)
		if !bytes.Equal(again, data[:headSize]) {
			t.Fatalf("head % x became % x", data[:headSize], again)
		}
		if batch, err := decodeForward(body); err == nil && len(batch) > 0 {
			if diff := cmp.Diff(batch, decodeParts(t, encodeForward(batch, 1<<30)), cmpopts.EquateEmpty()); diff != "" {
				t.Fatal("forward differs after a round:\n", diff)
			}
		}
		if counts, err := decodeCounts(body); err == nil {
			again, err := decodeCounts(appendCounts(nil, counts))
			if diff := cmp.Diff(counts, again); err != nil || diff != "" {
				t.Fatal("counts differ after a round:\n", err, diff)
			}
		}
	})
}
