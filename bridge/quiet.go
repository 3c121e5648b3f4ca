package bridge

import (
	"sync"
	"time"
)

// quietFor is how long what was said is not said again.
const quietFor = 10 * time.Second

// Quiet lets one log line of a kind through in ten seconds, with the number of times
// that it stands for. The zero value is ready. Safe for concurrent use.
type Quiet struct {
	mu    sync.Mutex // guards what follows
	until time.Time
	times int // since the last line
}

// Due counts one, and reports whether to say so now and for how many.
func (q *Quiet) Due(now time.Time) (times int, due bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.times++
	if now.Before(q.until) {
		return 0, false
	}
	times, q.times, q.until = q.times, 0, now.Add(quietFor)
	return times, true
}
