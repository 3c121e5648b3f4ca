package bridge

import (
	"fmt"
	"testing"
	"time"
)

func spanBatch() []Message {
	msgs := make([]Message, 512)
	for i := range msgs {
		msgs[i] = Message{
			Offset: Offset{7, uint64(i + 1)}, Topic: "submissionUpdate", Stored: time.Now(),
			Body: fmt.Appendf(nil, `{"userId":"user_%d","submissionId":"sub_%d","status":"IN_PROGRESS"}`, i, i),
		}
		if i%2 == 0 {
			msgs[i].Header = map[string][]string{HeaderTraceparent: {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}}
		}
	}
	return msgs
}

func noSpan(string, string, time.Time) Span { return nil }

// TestNotFollowedCostsNothing: a message that is not followed allocates as much with
// tracing as without.
func TestNotFollowedCostsNothing(t *testing.T) {
	r := &Router{cfg: RouterConfig{Begin: noSpan}}
	msgs := spanBatch()
	off := testing.AllocsPerRun(20, func() { newBatch(msgs, time.Second) })
	on := testing.AllocsPerRun(20, func() { r.sample(newBatch(msgs, time.Second)) })
	if on != off {
		t.Errorf("%v allocations for a batch with tracing, %v without", on, off)
	}
}

func BenchmarkFollow(b *testing.B) {
	for _, tt := range []struct {
		name  string
		begin BeginSpan
	}{{"off", nil}, {"on", noSpan}} {
		b.Run(tt.name, func(b *testing.B) {
			r := &Router{cfg: RouterConfig{Begin: tt.begin}}
			msgs := spanBatch()
			b.ReportAllocs()
			for b.Loop() {
				batch := newBatch(msgs, time.Second)
				if r.cfg.Begin != nil {
					r.sample(batch)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(msgs)), "ns/message")
		})
	}
}
