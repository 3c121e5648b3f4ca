package limit

import (
	"io"
	"time"
)

const (
	// freeBytes is how much may come at once before anybody is slowed down.
	freeBytes = 64 << 10
	// PieceBytes is how much is read at a time of what comes in bulk: what one read
	// costs is paid seldom, and nobody else waits long for it.
	PieceBytes = 16 << 10
)

// Flow paces what one connection sends: 64 KiB at once after a pause, then so many
// bytes a second. Nothing is refused: what is not read yet waits on the sender's
// side (TCP). The zero Flow has no limit. One goroutine may use it at a time.
type Flow struct {
	PerSecond int           // bytes; 0 is no limit
	due       time.Duration // since began: when what was counted would have come at that pace
}

// began is when time begins for each Flow, which is smaller so than with a time.Time.
var began = time.Now()

// Count counts bytes that were read.
func (f *Flow) Count(n int) {
	if f.PerSecond <= 0 {
		return
	}
	f.due = max(f.due, time.Since(began)) + f.take(n)
}

// Pause waits until more may be read.
func (f *Flow) Pause() {
	if f.PerSecond <= 0 || f.due == 0 {
		return
	}
	if wait := f.due - f.take(freeBytes) - time.Since(began); wait > 0 {
		time.Sleep(wait)
	}
}

// Bulk reports whether a good part of what may come at once has come.
func (f *Flow) Bulk() bool {
	return f.due != 0 && f.due-time.Since(began) > f.take(freeBytes/4)
}

// take is how long n bytes take.
func (f *Flow) take(n int) time.Duration {
	return time.Duration(float64(n) / float64(f.PerSecond) * float64(time.Second))
}

// Paced reads r at a pace of so many bytes a second, see [Flow].
func Paced(r io.Reader, perSecond int) io.Reader {
	return &paced{r, Flow{PerSecond: perSecond}}
}

type paced struct {
	from io.Reader
	flow Flow
}

func (p *paced) Read(b []byte) (int, error) {
	p.flow.Pause()
	n, err := p.from.Read(b[:min(len(b), PieceBytes)])
	p.flow.Count(n)
	return n, err
}
