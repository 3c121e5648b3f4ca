package admin

import (
	"math"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// sampleEvery is how far samples are apart, and seriesLength how many are kept.
	sampleEvery  = time.Second
	seriesLength = 900
)

// sample is one second of a node. Rates are per second.
type sample map[string]float64

const (
	outcomePrefix = "outcome."
	topicPrefix   = "topic."
)

// series keeps the newest samples, each number as four bytes: with fifty topics
// some 300 kB. Safe for concurrent use.
type series struct {
	mu      sync.Mutex // guards all below
	columns map[string][]float32
	next    int       // where the next sample goes
	length  int       // samples that there are
	newest  time.Time // of the newest sample
	last    sample
}

func newSeries() *series { return &series{columns: make(map[string][]float32)} }

// add adds a sample, once more for each second before it that was missed.
func (s *series) add(at time.Time, now sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	missed := 0
	if s.length > 0 {
		missed = int(at.Sub(s.newest).Round(sampleEvery)/sampleEvery) - 1
	}
	for range min(max(missed, 0), seriesLength-1) + 1 {
		for name := range now {
			if s.columns[name] == nil { // a new topic, of which there are few
				s.columns[name] = make([]float32, seriesLength)
			}
		}
		for name, column := range s.columns {
			column[s.next] = float32(now[name])
		}
		s.next = (s.next + 1) % seriesLength
		s.length = min(s.length+1, seriesLength)
	}
	s.newest, s.last = at, now
}

// seriesAnswer is a node's newest samples, oldest first.
type seriesAnswer struct {
	From   time.Time            `json:"from"` // of the first one
	Fields map[string][]float64 `json:"fields"`
}

func (s *series) read(n int) seriesAnswer {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(max(n, 0), s.length)
	a := seriesAnswer{From: moment(s.newest.Add(-time.Duration(max(n-1, 0)) * sampleEvery)), Fields: make(map[string][]float64, len(s.columns))}
	for name, column := range s.columns {
		values := make([]float64, n)
		for i := range values {
			values[i] = short(float64(column[(s.next-n+i+seriesLength)%seriesLength]))
		}
		a.Fields[name] = values
	}
	return a
}

// newestSample returns the newest sample; nil when there is none.
func (s *series) newestSample() sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// short rounds to three digits behind the point, so that charts are short texts.
func short(v float64) float64 { return math.Round(v*1000) / 1000 }

// sampleOf makes a sample of two states that are so many seconds apart.
func sampleOf(before, now *NodeState, mapped uint64, seconds float64) sample {
	rate := func(a, b uint64) float64 { return short(float64(b-a) / seconds) }
	s := sample{
		"sockets": float64(now.Sockets), "users": float64(now.Users),
		"received": rate(before.Counters.Received, now.Counters.Received),
		"p50Ms":    now.Push.P50, "p99Ms": now.Push.P99, "p999Ms": now.Push.P999,
		"lag": float64(now.NATS.Lag), "storeMs": now.Store.PingMillis, "rssBytes": float64(now.RSS),
		"dropped":   rate(sum(before.Counters.Drops), sum(now.Counters.Drops)),
		"connected": short(float64(mapped) / seconds),
	}
	for _, o := range bridge.Outcomes() {
		s[outcomePrefix+string(o)] = rate(before.Counters.Outcomes[o], now.Counters.Outcomes[o])
	}
	for topic, n := range now.Counters.Topics {
		s[topicPrefix+topic] = rate(before.Counters.Topics[topic], n)
	}
	return s
}

func sum(counts map[string]uint64) (n uint64) {
	for _, c := range counts {
		n += c
	}
	return n
}
