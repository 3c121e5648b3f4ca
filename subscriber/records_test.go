package subscriber

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// recordsOf opens the records of a node.
func recordsOf(t testing.TB, s *natstest.Instance, node bridge.NodeID, most int, ttl time.Duration) *Records {
	t.Helper()
	return ready(t, s, node).NewRecords(RecordsConfig{Most: most, TTL: ttl})
}

func recordAt(seq uint64) bridge.Offset { return bridge.Offset{Epoch: 7, Seq: seq} }

// record saves a record of each message.
func record(t testing.TB, r *Records, user bridge.UserID, outcome bridge.Outcome, seqs ...uint64) {
	t.Helper()
	var blocks []bridge.RecordBlock
	for _, seq := range seqs {
		blocks = append(blocks, bridge.NewRecordBlock(bridge.DeliveryRecord{
			Offset: recordAt(seq), User: user, Subject: "codewar.t", Read: time.Now(), Settled: time.Now(), Outcome: outcome,
		}))
	}
	if err := r.SaveRecords(t.Context(), blocks); err != nil {
		t.Fatalf("SaveRecords: %v", err)
	}
}

// outcomeOf is that of one message's record, empty when there is none.
func outcomeOf(t testing.TB, r *Records, seq uint64) bridge.Outcome {
	t.Helper()
	d, err := r.Record(t.Context(), recordAt(seq))
	if err != nil && !errors.Is(err, bridge.ErrNoRecord) {
		t.Fatalf("Record: %v", err)
	}
	if err == nil && d.Offset != recordAt(seq) {
		t.Errorf("record of %v, want %v", d.Offset, recordAt(seq))
	}
	return d.Outcome
}

// records lists a user's messages from one on, newest first, and counts the calls.
func records(t testing.TB, r *Records, user bridge.UserID, from uint64) (seqs []uint64, calls int) {
	t.Helper()
	for at := recordAt(from); !at.IsZero(); calls++ {
		found, next, err := r.RecordsOf(t.Context(), user, at)
		if err != nil {
			t.Fatalf("RecordsOf: %v", err)
		}
		for _, d := range found {
			if d.User != user {
				t.Errorf("record of %s, want %s", d.User, user)
			}
			seqs = append(seqs, d.Offset.Seq)
		}
		if !next.IsZero() && !at.After(next) {
			t.Fatalf("continues at %v after %v", next, at)
		}
		at = next
	}
	return seqs, calls
}

// TestRecords saves records on one node and reads them on another.
func TestRecords(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := recordsOf(t, s, "a", 100_000, time.Hour), recordsOf(t, s, "b", 100_000, time.Hour)
	if got, _ := records(t, b, "u", 1_000_000); got != nil {
		t.Errorf("records %v before the first", got)
	}
	record(t, a, "u", bridge.Pushed, 1, 2, 600)
	record(t, a, "u", bridge.Dead, 1)
	for seq, want := range map[uint64]bridge.Outcome{1: bridge.Dead, 2: bridge.Pushed, 3: "", 600: bridge.Pushed} {
		if got := outcomeOf(t, b, seq); got != want {
			t.Errorf("message %d: %q, want %q", seq, got, want)
		}
	}
	if got, _ := records(t, b, "u", 1023); !cmp.Equal(got, []uint64{600, 2, 1}) {
		t.Errorf("records of u %v, want each message once, newest first", got)
	}
	if _, err := b.Record(t.Context(), bridge.Offset{Epoch: 8, Seq: 1}); !errors.Is(err, bridge.ErrNoRecord) {
		t.Errorf("message of another epoch: %v, want no record", err)
	}
}

// TestRecordsByWindow searches more blocks than one call looks at.
func TestRecordsByWindow(t *testing.T) {
	t.Parallel()
	r := recordsOf(t, natstest.Server(t), "a", 100_000, time.Hour)
	var others []uint64
	for seq := uint64(1); seq < 60*512; seq += 256 { // almost two windows, without an empty block
		others = append(others, seq)
	}
	record(t, r, "others", bridge.Pushed, others...)
	record(t, r, "u1", bridge.Pushed, 5, 700, 30_000)
	record(t, r, "u", bridge.Pushed, 9)
	for _, tt := range []struct {
		user bridge.UserID
		from uint64
		want []uint64
	}{
		{"u1", 30_719, []uint64{30_000, 700, 5}},
		{"u1", 29_000, []uint64{700, 5}},
		{"u", 30_719, []uint64{9}},
		{"nobody", 30_719, nil},
	} {
		got, calls := records(t, r, tt.user, tt.from)
		if !cmp.Equal(got, tt.want) || calls != 2 {
			t.Errorf("records of %s from %d: %v in %d calls, want %v in 2", tt.user, tt.from, got, calls, tt.want)
		}
	}
}

// TestRecordsAreBounded saves more than is kept, and waits until the rest is too old.
func TestRecordsAreBounded(t *testing.T) {
	t.Parallel()
	r := recordsOf(t, natstest.Server(t), "a", 1, 2*time.Second) // the least is 1 MiB
	for seq := uint64(1); seq <= 40; seq++ {
		block := bridge.NewRecordBlock(bridge.DeliveryRecord{Offset: recordAt(seq * 512), Subject: string(make([]byte, 100<<10)), Outcome: bridge.Pushed})
		if err := r.SaveRecords(t.Context(), []bridge.RecordBlock{block}); err != nil {
			t.Fatal(err)
		}
	}
	if first, last := outcomeOf(t, r, 512), outcomeOf(t, r, 40*512); first != "" || last != bridge.Pushed {
		t.Errorf("outcomes %q and %q, want only the newest", first, last)
	}
	waitFor(t, "the newest is gone", func() bool { return outcomeOf(t, r, 40*512) == "" })
}

// TestRecordsStreamDeleted goes on when an operator deletes the stream.
func TestRecordsStreamDeleted(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	r := recordsOf(t, s, "a", 1000, time.Hour)
	record(t, r, "u", bridge.Pushed, 1)
	if err := r.client.js.DeleteStream(t.Context(), r.client.cfg.recordStream()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "records are saved again", func() bool {
		block := bridge.NewRecordBlock(bridge.DeliveryRecord{Offset: recordAt(2), Outcome: bridge.Pushed})
		return r.SaveRecords(t.Context(), []bridge.RecordBlock{block}) == nil
	})
	if got := outcomeOf(t, r, 2); got != bridge.Pushed {
		t.Errorf("outcome %q, want pushed", got)
	}
}

// TestNoRecords makes no stream where nothing is recorded.
func TestNoRecords(t *testing.T) {
	t.Parallel()
	r := recordsOf(t, natstest.Server(t), "a", 0, time.Hour)
	if got := outcomeOf(t, r, 1); got != "" {
		t.Errorf("outcome %q, want no record", got)
	}
	if _, err := r.client.js.Stream(t.Context(), r.client.cfg.recordStream()); err == nil {
		t.Error("the stream was created")
	}
}
