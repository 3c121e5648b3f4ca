package subscriber

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/varint"
)

// A message between nodes is a fixed head and a body:
//
//	version 1 byte | kind 1 byte | term 8 bytes | number 8 bytes | body
//
// The body of a forward is a count and that many envelopes: user, topic, epoch,
// sequence, those of the message before, when it was stored (ns since 1970, 0: unknown),
// payload, milliseconds to confirm in, traceparent. The body of an answer is a count
// and that many times took, seen and acked. The body of a beat is the sequence that the leader
// has read. Numbers in bodies are uvarints, texts a length and their bytes.
const (
	linkVersion = 1
	headSize    = 18
	minEnvelope = 10 // bytes of an envelope with empty fields
	minCount    = 3  // bytes of a count
)

// maxAckMillis bounds how long an invalid number can make a node wait for clients.
const maxAckMillis = 60_000

type messageKind byte

const (
	kindForward messageKind = 1 + iota
	kindBeat
	kindAnswer
	kindQuery
	kindPages
)

// head begins every message between nodes.
type head struct {
	kind messageKind
	term uint64 // the leader's
	// seq numbers the forwards of a term to one node from 1. A beat repeats the last.
	seq uint64
}

// errForward means that a message does not have the format above.
var errForward = errors.New("not a link message")

func (h head) put(b []byte) {
	b[0], b[1] = linkVersion, byte(h.kind)
	binary.BigEndian.PutUint64(b[2:], h.term)
	binary.BigEndian.PutUint64(b[10:], h.seq)
}

func decodeHead(b []byte) (h head, body []byte, err error) {
	if len(b) < headSize || b[0] != linkVersion {
		return head{}, nil, errForward
	}
	h = head{messageKind(b[1]), binary.BigEndian.Uint64(b[2:]), binary.BigEndian.Uint64(b[10:])}
	return h, b[headSize:], nil
}

// envelopeSize is the most that appendEnvelope appends.
func envelopeSize(e *bridge.Envelope) int {
	return len(e.User) + len(e.Topic) + len(e.Payload) + len(e.Parent) + minEnvelope*binary.MaxVarintLen64
}

func appendEnvelope(b []byte, e *bridge.Envelope) []byte {
	b = varint.AppendText(b, e.User)
	b = varint.AppendText(b, e.Topic)
	b = appendOffset(b, e.Offset)
	b = appendOffset(b, e.Before)
	var stored uint64
	if !e.Stored.IsZero() {
		stored = uint64(e.Stored.UnixNano())
	}
	b = binary.AppendUvarint(b, stored)
	b = varint.AppendText(b, e.Payload)
	b = binary.AppendUvarint(b, uint64(e.Ack.Milliseconds()))
	return varint.AppendText(b, e.Parent)
}

func appendOffset(b []byte, o bridge.Offset) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, o.Epoch), o.Seq)
}

func readOffset(r *varint.Reader) bridge.Offset {
	return bridge.Offset{Epoch: r.Uint(), Seq: r.Uint()}
}

// complete returns an error unless r has read everything.
func complete(r *varint.Reader) error {
	if !r.Done() {
		return errForward
	}
	return nil
}

// decodeForward reads the body of a forward. Payloads share its memory.
func decodeForward(body []byte) ([]*bridge.Envelope, error) {
	r := &varint.Reader{Rest: body}
	envelopes := make([]bridge.Envelope, r.Count(minEnvelope))
	batch := make([]*bridge.Envelope, len(envelopes))
	for i := range envelopes {
		e := &envelopes[i]
		e.User, e.Topic = bridge.UserID(r.Bytes()), r.Text()
		e.Offset, e.Before = readOffset(r), readOffset(r)
		if stored := r.Uint(); stored > 0 {
			e.Stored = time.Unix(0, int64(stored))
		}
		e.Payload = r.Bytes()
		e.Ack = time.Duration(min(r.Uint(), maxAckMillis)) * time.Millisecond
		e.Parent = r.Text()
		batch[i] = e
	}
	return batch, complete(r)
}

func appendCounts(b []byte, counts []bridge.Count) []byte {
	b = binary.AppendUvarint(b, uint64(len(counts)))
	for _, c := range counts {
		for _, n := range [...]int{c.Took, c.Seen, c.Acked} {
			b = binary.AppendUvarint(b, uint64(n))
		}
	}
	return b
}

// decodeAnswer reads a node's answer to a forward.
func decodeAnswer(data []byte) ([]bridge.Count, error) {
	h, body, err := decodeHead(data)
	if err != nil || h.kind != kindAnswer {
		return nil, errForward
	}
	return decodeCounts(body)
}

func decodeCounts(body []byte) ([]bridge.Count, error) {
	r := &varint.Reader{Rest: body}
	counts := make([]bridge.Count, r.Count(minCount))
	for i := range counts {
		counts[i] = bridge.Count{Took: int(r.Uint()), Seen: int(r.Uint()), Acked: int(r.Uint())}
	}
	return counts, complete(r)
}
