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
	// inflateBytes is about the memory that inflating a message takes.
	inflateBytes = 48 << 10
	// firstBytes is how much of a message is read before more memory is counted for it.
	firstBytes = 512
	// bulkBytes is from how large a message on a piece of bytes is read at a time (see wsConn).
	bulkBytes = limit.PieceBytes
)

// incoming is one message or polling body of a client while it is read and handled. Its memory
// counts for the client until release.
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

// release stops counting the message. What still refers to it is counted elsewhere.
func (in *incoming) release() {
	in.c.memory.Release(in.held)
	in.held, in.text = 0, nil
}

// read reads r to its end and keeps the first most+1 bytes. expected is its size, or 0. It calls
// paced, unless that is nil, with the number of bytes read so far; paced may block.
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

// message reads one message of at most Config.MaxInbound bytes. A compressed message counts, and
// is paced, by its inflated size. Before the client has joined, it keeps only Config.MaxConnect
// bytes.
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
	bounded := &io.LimitedReader{R: r, N: most + 1}
	err = in.read(bounded, keep, 0, func(read int64) {
		if more := read - (l.in.wire - wire) - paid; more > 0 { // compressed
			l.in.rate.Count(int(more))
			paid += more
			l.in.rate.Pause()
		}
	})
	if bounded.N <= 0 {
		return websocket.ErrReadLimit
	}
	if _, corrupt := errors.AsType[flate.CorruptInputError](err); corrupt {
		return errPacket
	}
	if err != nil {
		return err
	}
	if kind == websocket.BinaryMessage {
		in.text = append(in.text[:0], attachment...) // the data is discarded
	}
	_ = l.nc.SetReadDeadline(time.Time{})
	return nil
}

// body reads the body of a POST.
func (in *incoming) body(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Content-Type") == "application/octet-stream" {
		return errPacket // binary payloads ended with protocol 3
	}
	const moderate = 64 << 10 // the most that is allocated for a declared length
	expected := int(r.ContentLength)
	if expected < 0 || expected > moderate {
		expected = 0
	}
	s := in.c.srv
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.cfg.ReadTimeout)) // net/http resets it before the next request
	paced := limit.Paced(http.MaxBytesReader(w, r.Body, s.cfg.MaxInbound), s.cfg.InboundRate)
	return in.read(paced, int(s.cfg.MaxInbound), expected, nil)
}
