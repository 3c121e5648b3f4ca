package subscriber

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// A link message is a fixed head and a body:
//
//	version 1 byte | kind 1 byte | term 8 bytes | link sequence 8 bytes | body
//
// The body of a forward is a count and that many envelopes: user, topic, epoch,
// sequence, those of the message before, when it was stored (ns since 1970, 0: unknown),
// payload, milliseconds to confirm in, traceparent. The body of an answer is a count
// and that many times took, seen and acked. A beat has none. Numbers in bodies are uvarints, texts a length
// and their bytes.
const (
	linkVersion = 1
	headSize    = 18
	// minEnvelope is the least an envelope can take: ten empty fields.
	minEnvelope = 10
	// minCount is the least a count can take.
	minCount = 3
)

// maxAckMillis keeps a broken number from becoming a wait without end.
const maxAckMillis = 60_000

type linkKind byte

const (
	kindForward linkKind = 1 + iota
	kindBeat
	kindAnswer
	kindQuery
	kindPages
)

// head begins every link message.
type head struct {
	kind linkKind
	term uint64 // the leader's
	// seq numbers the forwards of a term to one node from 1. A beat repeats the last.
	seq uint64
}

var errLink = errors.New("not a link message")

func (h head) put(b []byte) {
	b[0], b[1] = linkVersion, byte(h.kind)
	binary.BigEndian.PutUint64(b[2:], h.term)
	binary.BigEndian.PutUint64(b[10:], h.seq)
}

func decodeHead(b []byte) (h head, body []byte, err error) {
	if len(b) < headSize || b[0] != linkVersion {
		return head{}, nil, errLink
	}
	h = head{linkKind(b[1]), binary.BigEndian.Uint64(b[2:]), binary.BigEndian.Uint64(b[10:])}
	return h, b[headSize:], nil
}

// envelopeSize is the most that appendEnvelope appends.
func envelopeSize(e *bridge.Envelope) int {
	return len(e.User) + len(e.Topic) + len(e.Payload) + len(e.Parent) + minEnvelope*binary.MaxVarintLen64
}

func appendEnvelope(b []byte, e *bridge.Envelope) []byte {
	b = appendText(b, string(e.User))
	b = appendText(b, e.Topic)
	b = binary.AppendUvarint(b, e.Offset.Epoch)
	b = binary.AppendUvarint(b, e.Offset.Seq)
	b = binary.AppendUvarint(b, e.Before.Epoch)
	b = binary.AppendUvarint(b, e.Before.Seq)
	b = binary.AppendUvarint(b, storedNanos(e))
	b = binary.AppendUvarint(b, uint64(len(e.Payload)))
	b = append(b, e.Payload...)
	b = binary.AppendUvarint(b, uint64(e.Ack.Milliseconds()))
	return appendText(b, e.Parent)
}

// storedNanos is [bridge.Envelope.Stored] as a number; zero when it is not known.
func storedNanos(e *bridge.Envelope) uint64 {
	if e.Stored.IsZero() {
		return 0
	}
	return uint64(e.Stored.UnixNano())
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decodeForward reads the body of a forward. Payloads share its memory.
func decodeForward(body []byte) ([]*bridge.Envelope, error) {
	r := reader{rest: body}
	n := r.number()
	if n > uint64(len(r.rest)/minEnvelope) {
		return nil, errLink
	}
	envelopes := make([]bridge.Envelope, n)
	batch := make([]*bridge.Envelope, n)
	for i := range envelopes {
		e := &envelopes[i]
		e.User = bridge.UserID(r.bytes())
		e.Topic = string(r.bytes())
		e.Offset.Epoch = r.number()
		e.Offset.Seq = r.number()
		e.Before.Epoch = r.number()
		e.Before.Seq = r.number()
		if stored := r.number(); stored > 0 {
			e.Stored = time.Unix(0, int64(stored))
		}
		e.Payload = r.bytes()
		e.Ack = time.Duration(min(r.number(), maxAckMillis)) * time.Millisecond
		e.Parent = string(r.bytes())
		batch[i] = e
	}
	return batch, r.end()
}

func appendCounts(b []byte, counts []bridge.Count) []byte {
	b = binary.AppendUvarint(b, uint64(len(counts)))
	for _, c := range counts {
		b = binary.AppendUvarint(b, uint64(c.Took))
		b = binary.AppendUvarint(b, uint64(c.Seen))
		b = binary.AppendUvarint(b, uint64(c.Acked))
	}
	return b
}

func decodeCounts(body []byte) ([]bridge.Count, error) {
	r := reader{rest: body}
	n := r.number()
	if n > uint64(len(r.rest)/minCount) {
		return nil, errLink
	}
	counts := make([]bridge.Count, n)
	for i := range counts {
		counts[i] = bridge.Count{Took: int(r.number()), Seen: int(r.number()), Acked: int(r.number())}
	}
	return counts, r.end()
}

// reader takes fields off the front of rest. After the first error it returns
// zeros, so only the end needs a check.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// end returns an error unless exactly everything was read.
func (r *reader) end() error {
	if r.bad || len(r.rest) != 0 {
		return errLink
	}
	return nil
}
