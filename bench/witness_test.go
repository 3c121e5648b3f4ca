package main

import (
	"testing"
	"time"
)

// A look that is a little late is the system's doing, not the host's.
func TestStillness(t *testing.T) {
	t.Parallel()
	var s stillness
	for _, late := range []time.Duration{0, 100 * time.Microsecond, 3 * time.Millisecond, 249 * time.Microsecond, 250 * time.Microsecond} {
		s.note(late)
	}
	if want := (stillness{3250 * time.Microsecond, 3 * time.Millisecond}); s != want {
		t.Errorf("%v, want %v", s, want)
	}
}

// The table says how long processors stood still only when every repetition has seen it.
func TestStoodStill(t *testing.T) {
	t.Parallel()
	const column = 13 // of labels, the server and figures
	row := messages{"durable", byJetStream, fewUsers, smallBody, true, false}
	for _, c := range []struct {
		name  string
		stood []*float64
		want  string
	}{
		{"seen", []*float64{new(0.002), new(0.030), new(0.004)}, "4.0"},
		{"not allowed to look", []*float64{new(0.002), nil, nil}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var samples []*sample
			for _, s := range c.stood {
				samples = append(samples, &sample{messages: 1, took: time.Second, over: time.Second, latencies: newLatencies(), stood: s})
			}
			r := newResults()
			r.addMessages(row, "2000/s", map[string][]*sample{bridge: samples})
			line := r.messages.lines[0]
			if head := r.messages.heads[column-len(r.messages.labels)-1]; head != "(stood still ms/s)" {
				t.Fatalf("looked at %q", head)
			}
			if line[column] != c.want {
				t.Errorf("%q, want %q", line[column], c.want)
			}
		})
	}
}
