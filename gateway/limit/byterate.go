package limit

import (
	"io"
	"time"

	"golang.org/x/time/rate"
)

const (
	// burstBytes is how many bytes a connection may send at once after a pause.
	burstBytes = 64 << 10
	// PieceBytes is how many bytes of a bulk transfer are read at a time: enough to make the
	// cost of a read small, and few enough that other connections do not wait for it.
	PieceBytes = 16 << 10
)

// ByteRate paces the bytes that one connection sends: 64 KiB at once after a pause, then a
// number of bytes a second. It refuses nothing: TCP keeps unread bytes at the sender. A nil
// ByteRate has no limit.
type ByteRate struct{ bucket *rate.Limiter }

// NewByteRate returns a ByteRate of so many bytes a second, or nil for 0, which is no limit.
func NewByteRate(perSecond int) *ByteRate {
	if perSecond <= 0 {
		return nil
	}
	return &ByteRate{rate.NewLimiter(rate.Limit(perSecond), burstBytes)}
}

// Count counts up to 64 KiB that were read.
func (r *ByteRate) Count(n int) {
	if r != nil {
		r.bucket.ReserveN(time.Now(), min(n, burstBytes))
	}
}

// Pause waits until more may be read.
func (r *ByteRate) Pause() {
	if r == nil {
		return
	}
	if debt := -r.bucket.Tokens(); debt > 0 {
		time.Sleep(time.Duration(debt / float64(r.bucket.Limit()) * float64(time.Second)))
	}
}

// Bulk reports whether more than a quarter of a burst was read recently.
func (r *ByteRate) Bulk() bool { return r != nil && r.bucket.Tokens() < burstBytes*3/4 }

// Paced returns a reader of r that reads so many bytes a second, see [ByteRate].
func Paced(r io.Reader, perSecond int) io.Reader { return &paced{r, NewByteRate(perSecond)} }

type paced struct {
	from io.Reader
	rate *ByteRate
}

func (p *paced) Read(b []byte) (int, error) {
	p.rate.Pause()
	n, err := p.from.Read(b[:min(len(b), PieceBytes)])
	p.rate.Count(n)
	return n, err
}
