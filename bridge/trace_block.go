package bridge

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/codewar/socketbridge/internal/varint"
)

// TraceBlock is what was traced of one part of the stream, as the store keeps
// it. Every message is traced, so it is compact and made without reflection.
type TraceBlock struct {
	Block Offset // which part: see [TraceBlockOf]
	Data  []byte // traces, one after the other; [FindTrace] reads them
}

// NewTraceBlock makes a block of traces that all belong to it; there is one at least.
func NewTraceBlock(traces ...Trace) TraceBlock {
	b := TraceBlock{Block: TraceBlockOf(traces[0].Offset)}
	for i := range traces {
		b.Data = traces[i].append(b.Data)
	}
	return b
}

// traceBlock is how many consecutive messages share a block: enough that a batch
// costs the store a command or two, few enough that old ones leave in small
// steps and one is found soon.
const traceBlock = 512

// TraceBlockOf is the block that a message is in. Its Seq counts blocks.
func TraceBlockOf(o Offset) Offset { return Offset{Epoch: o.Epoch, Seq: o.Seq / traceBlock} }

// TraceBlocks is how many blocks hold that many messages, wherever these begin.
func TraceBlocks(messages int) int { return messages/traceBlock + 1 }

// FindTrace looks for a message in the data of its block. A later trace wins over
// an earlier one. It returns [ErrNoTrace] when there is none.
func FindTrace(data []byte, at Offset) (Trace, error) {
	found, err := Trace{}, ErrNoTrace
	for rest := data; len(rest) > 0; {
		r := varint.Reader{Rest: rest}
		t := readTrace(&r, at)
		if r.Bad {
			break // another program's bytes: what is before them still counts
		}
		if t.Offset == at {
			found, err = t, nil
		}
		rest = r.Rest
	}
	return found, err
}

// TraceWindow is how many blocks one call of [Traces.TracesOf] looks at.
const TraceWindow = 32

// TracesIn returns a user's traces in the data of a block, newest first. Of several
// of one message the latest counts.
func TracesIn(b TraceBlock, user UserID) (found []Trace) {
	if !bytes.Contains(b.Data, varint.AppendText(nil, user)) { // most blocks have none, and decoding is dear
		return nil
	}
	at := Offset{Epoch: b.Block.Epoch, Seq: b.Block.Seq * traceBlock}
	byOffset := make(map[Offset]Trace)
	for rest := b.Data; len(rest) > 0; {
		r := varint.Reader{Rest: rest}
		t := readTrace(&r, at)
		if r.Bad {
			break // as in FindTrace
		}
		if t.User == user {
			byOffset[t.Offset] = t
		}
		rest = r.Rest
	}
	return slices.SortedFunc(maps.Values(byOffset), func(s, t Trace) int { return t.Offset.Compare(s.Offset) })
}

// TraceBlockEnd is the last message that can be in a block.
func TraceBlockEnd(block Offset) Offset {
	return Offset{Epoch: block.Epoch, Seq: block.Seq*traceBlock + traceBlock - 1}
}

// append adds the trace to a block's data: the message's place in the block, the
// times in nanoseconds, and the rest in the order of the fields, each length,
// count and number as an unsigned varint.
func (t *Trace) append(b []byte) []byte {
	b = binary.AppendUvarint(b, t.Offset.Seq%traceBlock)
	b = binary.AppendUvarint(b, uint64(t.Read.UnixNano()))
	b = binary.AppendUvarint(b, uint64(max(t.Settled.Sub(t.Read), 0)))
	b = varint.AppendText(b, t.Subject)
	b = varint.AppendText(b, t.User)
	b = varint.AppendText(b, t.Outcome)
	b = varint.AppendText(b, t.Code)
	b = binary.AppendUvarint(b, uint64(len(t.Tries)))
	for i := range t.Tries {
		try := &t.Tries[i]
		b = varint.AppendText(b, try.Node)
		b = varint.AppendText(b, try.Error)
		for _, n := range [...]int{try.Took, try.Seen, try.Acked, len(try.Sockets)} {
			b = binary.AppendUvarint(b, uint64(n))
		}
		for _, s := range try.Sockets {
			b = varint.AppendText(b, s)
		}
	}
	return b
}

// readTrace reads one trace of the block that the message at is in.
func readTrace(r *varint.Reader, at Offset) (t Trace) {
	t.Offset = Offset{Epoch: at.Epoch, Seq: at.Seq - at.Seq%traceBlock + r.Uint()}
	t.Read = time.Unix(0, int64(r.Uint())).UTC()
	t.Settled = t.Read.Add(time.Duration(r.Uint()))
	t.Subject = r.Text()
	t.User = UserID(r.Text())
	t.Outcome = Outcome(r.Text())
	t.Code = r.Text()
	for range r.Count(1) {
		try := Try{Node: NodeID(r.Text()), Error: r.Text(), Took: int(r.Uint()), Seen: int(r.Uint()), Acked: int(r.Uint())}
		for range r.Count(1) {
			try.Sockets = append(try.Sockets, SocketID(r.Text()))
		}
		t.Tries = append(t.Tries, try)
	}
	return t
}
