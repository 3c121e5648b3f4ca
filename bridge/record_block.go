package bridge

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	"github.com/codewar/socketbridge/internal/varint"
)

// RecordBlock is delivery records of one part of the stream in a compact encoding. Each
// message is recorded, so the encoding uses no reflection.
type RecordBlock struct {
	Block Offset // which part: see [RecordBlockOf]
	Data  []byte // records, one after the other; [FindRecord] reads them
}

// NewRecordBlock encodes records that all belong to one block. There must be at least one.
func NewRecordBlock(records ...DeliveryRecord) RecordBlock {
	b := RecordBlock{Block: RecordBlockOf(records[0].Offset)}
	for i := range records {
		b.Data = records[i].append(b.Data)
	}
	return b
}

// recordBlock is how many consecutive messages share a block: enough that a batch
// makes one write or two, few enough that one record is found soon.
const recordBlock = 512

// RecordBlockOf is the block that a message is in. Its Seq counts blocks.
func RecordBlockOf(o Offset) Offset { return Offset{Epoch: o.Epoch, Seq: o.Seq / recordBlock} }

// FindRecord looks for a message in the data of its block. Of several records of the message the
// last counts. It returns [ErrNoRecord] when there is none.
func FindRecord(data []byte, at Offset) (DeliveryRecord, error) {
	found, err := DeliveryRecord{}, ErrNoRecord
	for rest := data; len(rest) > 0; {
		r := varint.Reader{Rest: rest}
		t := readRecord(&r, at)
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

// RecordWindow is how many blocks one call of [Records.RecordsOf] looks at.
const RecordWindow = 32

// RecordsIn returns a user's records in the data of a block, newest first. Of several
// records of one message the last counts.
func RecordsIn(b RecordBlock, user UserID) (found []DeliveryRecord) {
	if !bytes.Contains(b.Data, varint.AppendText(nil, user)) { // most blocks have none, and decoding is expensive
		return nil
	}
	at := Offset{Epoch: b.Block.Epoch, Seq: b.Block.Seq * recordBlock}
	byOffset := make(map[Offset]DeliveryRecord)
	for rest := b.Data; len(rest) > 0; {
		r := varint.Reader{Rest: rest}
		t := readRecord(&r, at)
		if r.Bad {
			break // as in FindRecord
		}
		if t.User == user {
			byOffset[t.Offset] = t
		}
		rest = r.Rest
	}
	return slices.SortedFunc(maps.Values(byOffset), func(s, t DeliveryRecord) int { return t.Offset.Compare(s.Offset) })
}

// RecordBlockEnd is the last message that can be in a block.
func RecordBlockEnd(block Offset) Offset {
	return Offset{Epoch: block.Epoch, Seq: block.Seq*recordBlock + recordBlock - 1}
}

// append encodes the record: the message's place in the block, the times in nanoseconds, and
// the rest in the order of the fields. Each length, count and number is an unsigned varint.
func (t *DeliveryRecord) append(b []byte) []byte {
	b = binary.AppendUvarint(b, t.Offset.Seq%recordBlock)
	b = binary.AppendUvarint(b, uint64(t.Read.UnixNano()))
	b = binary.AppendUvarint(b, uint64(max(t.Settled.Sub(t.Read), 0)))
	b = varint.AppendText(b, t.Subject)
	b = varint.AppendText(b, t.User)
	b = varint.AppendText(b, t.Outcome)
	b = varint.AppendText(b, t.Code)
	b = binary.AppendUvarint(b, uint64(len(t.Nodes)))
	for i := range t.Nodes {
		n := &t.Nodes[i]
		b = varint.AppendText(b, n.Node)
		b = varint.AppendText(b, n.Error)
		for _, n := range [...]int{n.Took, n.Seen, n.Acked, len(n.Sockets)} {
			b = binary.AppendUvarint(b, uint64(n))
		}
		for _, s := range n.Sockets {
			b = varint.AppendText(b, s)
		}
	}
	return b
}

// readRecord reads one record of the block that the message at is in.
func readRecord(r *varint.Reader, at Offset) (t DeliveryRecord) {
	t.Offset = Offset{Epoch: at.Epoch, Seq: at.Seq - at.Seq%recordBlock + r.Uint()}
	t.Read = time.Unix(0, int64(r.Uint())).UTC()
	t.Settled = t.Read.Add(time.Duration(r.Uint()))
	t.Subject = r.Text()
	t.User = UserID(r.Text())
	t.Outcome = Outcome(r.Text())
	t.Code = r.Text()
	for range r.Count(1) {
		n := NodeDelivery{Node: NodeID(r.Text()), Error: r.Text(), Took: int(r.Uint()), Seen: int(r.Uint()), Acked: int(r.Uint())}
		for range r.Count(1) {
			n.Sockets = append(n.Sockets, SocketID(r.Text()))
		}
		t.Nodes = append(t.Nodes, n)
	}
	return t
}
