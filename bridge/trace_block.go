package bridge

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"time"
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
		d := decoder{rest: rest}
		t := d.trace(at)
		if d.bad {
			break // another program's bytes: what is before them still counts
		}
		if t.Offset == at {
			found, err = t, nil
		}
		rest = d.rest
	}
	return found, err
}

// TraceWindow is how many blocks one call of [Traces.TracesOf] looks at.
const TraceWindow = 32

// TracesIn returns a user's traces in the data of a block, newest first. Of several
// of one message the latest counts.
func TracesIn(b TraceBlock, user UserID) (found []Trace) {
	if !bytes.Contains(b.Data, appendText(nil, user)) { // most blocks have none, and decoding is dear
		return nil
	}
	at := Offset{Epoch: b.Block.Epoch, Seq: b.Block.Seq * traceBlock}
	byOffset := make(map[Offset]Trace)
	for rest := b.Data; len(rest) > 0; {
		d := decoder{rest: rest}
		t := d.trace(at)
		if d.bad {
			break // as in FindTrace
		}
		if t.User == user {
			byOffset[t.Offset] = t
		}
		rest = d.rest
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
	b = appendText(b, t.Subject)
	b = appendText(b, t.User)
	b = appendText(b, t.Outcome)
	b = appendText(b, t.Code)
	b = binary.AppendUvarint(b, uint64(len(t.Tries)))
	for i := range t.Tries {
		try := &t.Tries[i]
		b = appendText(b, try.Node)
		b = appendText(b, try.Error)
		for _, n := range [...]int{try.Took, try.Seen, try.Acked, len(try.Sockets)} {
			b = binary.AppendUvarint(b, uint64(n))
		}
		for _, s := range try.Sockets {
			b = appendText(b, s)
		}
	}
	return b
}

func appendText[T ~string](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decoder reads what append wrote. Once it is bad it reads zeros.
type decoder struct {
	rest []byte
	bad  bool
}

// trace reads one trace of the block that the message at is in.
func (d *decoder) trace(at Offset) (t Trace) {
	t.Offset = Offset{Epoch: at.Epoch, Seq: at.Seq - at.Seq%traceBlock + d.number()}
	t.Read = time.Unix(0, int64(d.number())).UTC()
	t.Settled = t.Read.Add(time.Duration(d.number()))
	t.Subject = d.text()
	t.User = UserID(d.text())
	t.Outcome = Outcome(d.text())
	t.Code = d.text()
	for range d.count() {
		try := Try{Node: NodeID(d.text()), Error: d.text(), Took: int(d.number()), Seen: int(d.number()), Acked: int(d.number())}
		for range d.count() {
			try.Sockets = append(try.Sockets, SocketID(d.text()))
		}
		t.Tries = append(t.Tries, try)
	}
	return t
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

// count reads how many of something follow, each of which takes a byte at least.
func (d *decoder) count() int {
	n := d.number()
	if n > uint64(len(d.rest)) {
		d.bad, d.rest = true, nil
		return 0
	}
	return int(n)
}

func (d *decoder) text() string {
	n := d.count()
	s := string(d.rest[:n])
	d.rest = slices.Clip(d.rest[n:])
	return s
}
