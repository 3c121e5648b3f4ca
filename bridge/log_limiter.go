package bridge

import (
	"sync"
	"time"
)

// logInterval is the least time between two lines that a [LogLimiter] allows.
const logInterval = 10 * time.Second

// LogLimiter limits a log line that repeats to one in ten seconds, with the number of events
// that the line stands for. The zero value is ready. Safe for concurrent use.
type LogLimiter struct {
	mu    sync.Mutex // guards what follows
	until time.Time
	times int // since the last line
}

// Due counts one event and reports whether to write a line now, and for how many events.
func (l *LogLimiter) Due(now time.Time) (times int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times++
	if now.Before(l.until) {
		return 0, false
	}
	times, l.times, l.until = l.times, 0, now.Add(logInterval)
	return times, true
}
