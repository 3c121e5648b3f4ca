package sio

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
	"github.com/klauspost/compress/flate"

	"github.com/codewar/socketbridge/gateway/limit"
)

const (
	// inflateBytes is about what it takes to inflate a message, while the message arrives.
	inflateBytes = 48 << 10
	// firstBytes is how much of a message is read before more memory is counted for it.
	firstBytes = 512
	// bulkBytes is from how large a message on a piece of bytes is read at a time (inflow.go).
	bulkBytes = limit.PieceBytes
)

// incoming is one message or polling body of a client while it is read and handled. What it
// takes counts in the client's account until release.
type incoming struct {
	c    *conn
	text []byte
	held int
}

// hold counts n bytes more.
func (in *incoming) hold(n int) bool {
	if !in.c.take(n) {
		return false
	}
	in.held += n
	return true
}

// release says that nothing refers to the message any more, or that what does is counted
// by itself.
func (in *incoming) release() {
	in.c.memory.Release(in.held)
	in.held, in.text = 0, nil
}

// read reads r to its end and keeps the first most+1 bytes. expected is its size, or 0.
// paced, which may be nil, is called with how much has been read so far; it may wait.
func (in *incoming) read(r io.Reader, most, expected int, paced func(read int64)) error {
	if !in.grow(max(min(expected, most), firstBytes) + 1) {
		return errMemory
	}
	var rest []byte // of what is not kept
	for read := int64(0); ; {
		room := in.text[len(in.text):cap(in.text)]
		if len(room) == 0 {
			switch {
			case len(in.text) > most:
				if rest == nil {
					rest = make([]byte, firstBytes)
				}
				room = rest
			case !in.grow(min(2*cap(in.text), most+1)):
				return errMemory
			default:
				continue
			}
		}
		n, err := r.Read(room)
		if read += int64(n); rest == nil {
			in.text = in.text[:len(in.text)+n]
		}
		if paced != nil {
			paced(read)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// grow makes room for size bytes in all.
func (in *incoming) grow(size int) bool {
	before := cap(in.text)
	if before <= bulkBytes && size > bulkBytes && !in.hold(limit.PieceBytes) || !in.hold(size) {
		return false
	}
	text := make([]byte, len(in.text), size)
	copy(text, in.text)
	in.text = text
	in.c.memory.Release(before)
	in.held -= before
	return true
}

// message reads one message of the client: at most as many bytes as Config.MaxInbound, also
// of one that is compressed, which is paced by what it inflates to. Of a client that has not
// joined no more is kept than a CONNECT may have.
func (in *incoming) message(l *link) error {
	kind, r, err := l.ws.NextReader()
	if err != nil {
		return err
	}
	now := time.Now()
	in.c.reading.Store(now.UnixNano())
	defer in.c.reading.Store(0)
	if l.deflates {
		if !in.c.take(inflateBytes) {
			return errMemory
		}
		defer in.c.memory.Release(inflateBytes)
	}
	_ = l.nc.SetReadDeadline(now.Add(in.c.srv.cfg.ReadTimeout)) // a closed connection shows in the read
	most := in.c.srv.cfg.MaxInbound
	keep := int(most)
	if in.c.socket() == nil {
		keep = min(keep, in.c.srv.cfg.MaxConnect)
	}
	wire, paid := l.in.wire, int64(0)
	tooLarge := false
	err = in.read(&capped{r, most, &tooLarge}, keep, 0, func(read int64) {
		if more := read - (l.in.wire - wire) - paid; more > 0 { // it was compressed
			l.in.rate.Count(int(more))
			paid += more
			l.in.rate.Pause()
		}
	})
	if tooLarge {
		return websocket.ErrReadLimit
	}
	if _, corrupt := errors.AsType[flate.CorruptInputError](err); corrupt {
		return errPacket
	}
	if err != nil {
		return err
	}
	if kind == websocket.BinaryMessage {
		in.text = append(in.text[:0], attachment...) // its data is of no use
	}
	_ = l.nc.SetReadDeadline(time.Time{})
	return nil
}

// capped ends a reader with websocket.ErrReadLimit when it has more than left bytes.
type capped struct {
	r        io.Reader
	left     int64
	exceeded *bool
}

func (c *capped) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	if c.left -= int64(n); c.left < 0 {
		*c.exceeded = true
		return n, websocket.ErrReadLimit
	}
	return n, err
}

// body reads the body of a POST.
func (in *incoming) body(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Content-Type") == "application/octet-stream" {
		return errPacket // binary payloads ended with protocol 3
	}
	const moderate = 64 << 10 // bytes that a client gets on its word
	expected := int(r.ContentLength)
	if expected < 0 || expected > moderate {
		expected = 0
	}
	s := in.c.srv
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.ReadTimeout)) // net/http takes it back before the next request
	return in.read(s.pacedBody(w, r), int(s.cfg.MaxInbound), expected, nil)
}
