package sio

import (
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/codewar/socketbridge/gateway/limit"
)

// pieces are lent to connections that send in bulk, for as long as there is something
// in them. Others are read in the few bytes that gorilla asks for at a time: an idle
// connection holds no more than those.
var pieces = sync.Pool{New: func() any { return new([limit.PieceBytes]byte) }}

// inflow is what comes from a websocket client, at Config.InboundRate. A large message
// would otherwise be hundreds of reads in a row, each a system call, and a handful of
// peers who send such messages would keep the processors from everybody else.
// One goroutine reads.
type inflow struct {
	rate  *limit.ByteRate
	piece *[limit.PieceBytes]byte // nil when nothing is left in it
	left  []byte                  // of piece
	wire  int64                   // bytes read so far
	more  bool                    // the last read got as much as it had asked for
}

func (f *inflow) read(nc net.Conn, b []byte) (int, error) {
	if f.piece == nil {
		f.rate.Pause()
		// The reader of a piece must not wait long for it: see that something is there.
		if !f.more || len(b) >= limit.PieceBytes || !f.rate.Bulk() {
			n, err := nc.Read(b[:min(len(b), limit.PieceBytes)])
			f.count(n)
			f.more = n == len(b)
			return n, err
		}
		piece := pieces.Get().(*[limit.PieceBytes]byte)
		n, err := nc.Read(piece[:])
		f.count(n)
		f.more = n == len(piece)
		if n == 0 {
			pieces.Put(piece)
			return 0, err
		}
		f.piece, f.left = piece, piece[:n] // an error shows again in the next read
	}
	n := copy(b, f.left)
	if f.left = f.left[n:]; len(f.left) == 0 {
		pieces.Put(f.piece)
		f.piece, f.left = nil, nil
	}
	return n, nil
}

// count counts bytes that were read.
func (f *inflow) count(n int) {
	f.wire += int64(n)
	f.rate.Count(n)
}

// pacedBody is what comes with a POST, at Config.InboundRate and up to Config.MaxInbound.
func (s *Server) pacedBody(w http.ResponseWriter, r *http.Request) io.Reader {
	return limit.Paced(http.MaxBytesReader(w, r.Body, s.cfg.MaxInbound), s.cfg.InboundRate)
}
