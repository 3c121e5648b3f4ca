package main

import (
	"io"
	"slices"
	"strconv"
	"time"
)

// results are the tables of a run.
type results struct{ messages, storms, rests, floors table }

func newResults() *results {
	return &results{
		messages: table{
			labels: []string{"scenario", "by", "users", "bytes", "load"},
			heads: slices.Concat([]string{"msg/s", "server µs", "NATS µs", "Redis µs", "together µs", "(load program µs)", "(others %)", "(stood still ms/s)", "(bytes out)"},
				latencyHeads, []string{"(median p99 ms)"}),
			formats: slices.Concat([]string{"%.0f", "%.1f", "%.1f", "%.1f", "%.1f", "%.1f", "%.0f", "%.1f", "%.0f"}, latencyFormats, []string{"%.2f"}),
		},
		storms: table{
			labels:  []string{"scenario", "connects"},
			heads:   slices.Concat([]string{"failed", "connects/s", "connect p50 ms", "connect p99 ms", "server µs", "NATS µs", "Redis µs", "(load program µs)"}, others(latencyHeads)),
			formats: slices.Concat([]string{"%.0f", "%.0f", "%.0f", "%.0f", "%.0f", "%.0f", "%.0f", "%.0f"}, latencyFormats),
		},
		rests: table{
			labels:  []string{"scenario", "connections"},
			heads:   []string{"RSS KB each", "PSS KB each", "goroutines each", "% of a core"},
			formats: []string{"%.1f", "%.1f", "%.2f", "%.2f"},
		},
		floors: table{
			labels:  []string{"floor"},
			heads:   slices.Concat([]string{"msg/s", "µs of one process"}, latencyHeads),
			formats: slices.Concat([]string{"%.0f", "%.1f"}, latencyFormats),
		},
	}
}

// others says whose latencies they are.
func others(heads []string) []string {
	of := make([]string, len(heads))
	for i, h := range heads {
		of[i] = "others' " + h
	}
	return of
}

func (r *results) write(w io.Writer) {
	r.messages.write(w)
	r.storms.write(w)
	r.rests.write(w)
	r.floors.write(w)
}

// addMessages adds the lines of one row at one load.
func (r *results) addMessages(m messages, load string, of map[string][]*sample) {
	lines := make(map[string]figures)
	for server, samples := range of {
		if len(samples) == 0 {
			continue
		}
		each := func(of func(cpu) time.Duration) *float64 {
			return new(median(samples, func(s *sample) float64 { return s.each(of(s.cpu)) }))
		}
		lines[server] = slices.Concat(figures{
			new(median(samples, (*sample).perSecond)),
			each(func(c cpu) time.Duration { return c.server }),
			each(func(c cpu) time.Duration { return c.nats }),
			each(func(c cpu) time.Duration { return c.redis }),
			each(func(c cpu) time.Duration { return c.server + c.nats + c.redis }),
			each(func(c cpu) time.Duration { return c.load }),
			new(100 * median(samples, (*sample).disturbed)),
			stood(samples),
			new(median(samples, func(s *sample) float64 { return float64(s.bytes) / float64(s.messages) })),
		}, latencyFigures(merged(samples, func(s *sample) latencies { return s.latencies })), figures{
			new(median(samples, func(s *sample) float64 { return *millis(s.latencies.at(99)) })),
		})
	}
	r.messages.add([]string{m.name, string(m.way), strconv.Itoa(m.users), strconv.Itoa(m.size), load}, lines)
}

// stood is how many milliseconds a second processors stood still, or nil when that was not always seen.
func stood(samples []*sample) *float64 {
	if slices.ContainsFunc(samples, func(s *sample) bool { return s.stood == nil }) {
		return nil
	}
	return new(1000 * median(samples, func(s *sample) float64 { return *s.stood }))
}

func (r *results) addStorms(of map[string][]*storm) {
	lines := make(map[string]figures)
	asked := 0
	for server, storms := range of {
		if len(storms) == 0 {
			continue
		}
		asked = storms[0].asked
		each := func(of func(cpu) time.Duration) *float64 {
			return new(median(storms, func(s *storm) float64 { return float64(of(s.cpu).Microseconds()) / float64(s.asked) }))
		}
		connects := merged(storms, func(s *storm) latencies { return s.connects })
		lines[server] = slices.Concat(figures{
			new(median(storms, func(s *storm) float64 { return float64(s.failed) })),
			new(median(storms, (*storm).perSecond)),
			millis(connects.at(50)), millis(connects.at(99)),
			each(func(c cpu) time.Duration { return c.server }),
			each(func(c cpu) time.Duration { return c.nats }),
			each(func(c cpu) time.Duration { return c.redis }),
			each(func(c cpu) time.Duration { return c.load }),
		}, latencyFigures(merged(storms, func(s *storm) latencies { return s.background })))
	}
	r.storms.add([]string{"connect", strconv.Itoa(asked)}, lines)
}

func (r *results) addRests(of map[string][]*rest) {
	lines := make(map[string]figures)
	connections := 0
	for server, rests := range of {
		if len(rests) == 0 {
			continue
		}
		connections = rests[0].connections
		f := figures{
			new(median(rests, (*rest).resident)),
			new(median(rests, (*rest).proportional)),
			nil,
			new(100 * median(rests, func(r *rest) float64 { return r.busy })),
		}
		if server == bridge {
			f[2] = new(median(rests, func(r *rest) float64 { return r.goroutines }))
		}
		lines[server] = f
	}
	r.rests.add([]string{"idle", strconv.Itoa(connections)}, lines)
}

func (r *results) addFloor(name string, floors []*floor) {
	if len(floors) == 0 {
		return
	}
	f := figures{new(median(floors, (*floor).perSecond)), new(median(floors, (*floor).each))}
	if l := merged(floors, func(f *floor) latencies { return f.latencies }); l.h.TotalCount() > 0 {
		f = append(f, latencyFigures(l)...)
	} else {
		f = append(f, nil, nil, nil, nil)
	}
	r.floors.add([]string{name}, map[string]figures{leastServer: f})
}
