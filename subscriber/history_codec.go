package subscriber

import (
	"encoding/binary"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/varint"
)

// A question for histories is a head without a term or number, the id of the asking node
// if it must receive every message, else an empty text, a count, and that many queries: user,
// epoch, sequence, flags, limit. The answer is a head with the leader's term, the
// horizon, a count, and that many pages: flags, last, before, a count of entries, and of each
// the offset, a flag, and with that flag topic and payload. Numbers are uvarints, offsets two of
// them, texts a length and their bytes.

// Bytes of a query, a page and an entry with empty fields.
const (
	minQuery = 5
	minPage  = 6
	minEntry = 3
)

// Flags of queries and of pages.
const (
	flagInbox = 1 << iota
	flagPeek
	flagMore
	flagGap
	flagUndecided
)

func flags(set bool, flag uint64) uint64 {
	if set {
		return flag
	}
	return 0
}

// question is what a node asks the leader.
type question struct {
	unregistered bridge.NodeID // the asking node, if it has sockets that are not in the registry
	queries      []bridge.HistoryQuery
}

func encodeQuestion(q question) []byte {
	b := make([]byte, headSize, headSize+64+32*len(q.queries))
	head{kind: kindQuery}.put(b)
	b = varint.AppendText(b, q.unregistered)
	b = binary.AppendUvarint(b, uint64(len(q.queries)))
	for _, q := range q.queries {
		b = varint.AppendText(b, q.User)
		b = appendOffset(b, q.After)
		b = binary.AppendUvarint(b, flags(q.Inbox, flagInbox)|flags(q.Peek, flagPeek))
		b = binary.AppendUvarint(b, uint64(q.Limit))
	}
	return b
}

func decodeQuestion(data []byte) (q question, err error) {
	h, body, err := decodeHead(data)
	if err != nil || h.kind != kindQuery {
		return question{}, errForward
	}
	r := &varint.Reader{Rest: body}
	q.unregistered = bridge.NodeID(r.Bytes())
	if q.unregistered != "" && !bridge.ValidNodeID(string(q.unregistered)) {
		return question{}, errForward
	}
	q.queries = make([]bridge.HistoryQuery, r.Count(minQuery))
	for i := range q.queries {
		user, after, f := bridge.UserID(r.Bytes()), readOffset(r), r.Uint()
		q.queries[i] = bridge.HistoryQuery{
			User: user, After: after, Inbox: f&flagInbox != 0, Peek: f&flagPeek != 0, Limit: int(min(r.Uint(), maxPage)),
		}
	}
	return q, complete(r)
}

// encodePages encodes an answer of about limit bytes at most: payloads that do not fit are left
// out, and the asking node reads them from the stream.
func encodePages(term uint64, pages []bridge.Replay, limit int) []byte {
	size, room := headSize+32, limit-headSize-32
	for _, p := range pages {
		n := 64 + 24*len(p.Entries)
		size, room = size+n, room-n
	}
	b := make([]byte, headSize, size)
	head{kind: kindPages, term: term}.put(b)
	var horizon bridge.Offset
	if len(pages) > 0 {
		horizon = pages[0].Horizon
	}
	b = appendOffset(b, horizon)
	b = binary.AppendUvarint(b, uint64(len(pages)))
	for _, p := range pages {
		b = binary.AppendUvarint(b, flags(p.More, flagMore)|flags(p.Gap, flagGap)|flags(p.Undecided, flagUndecided))
		b = appendOffset(b, p.Last)
		b = appendOffset(b, p.Before)
		b = binary.AppendUvarint(b, uint64(len(p.Entries)))
		for _, e := range p.Entries {
			b = appendOffset(b, e.Offset)
			n := len(e.Topic) + len(e.Payload)
			if e.Topic == "" || n > room {
				b = append(b, 0)
				continue
			}
			room -= n
			b = append(b, 1)
			b = varint.AppendText(b, e.Topic)
			b = varint.AppendText(b, e.Payload)
		}
	}
	return b
}

// decodePages reads the answer to queries. Payloads share its memory.
func decodePages(data []byte, queries []bridge.HistoryQuery) (pages []bridge.Replay, term uint64, err error) {
	h, body, err := decodeHead(data)
	if err != nil || h.kind != kindPages {
		return nil, 0, errForward
	}
	r := &varint.Reader{Rest: body}
	horizon := readOffset(r)
	if r.Count(minPage) != len(queries) {
		return nil, 0, errForward
	}
	pages = make([]bridge.Replay, len(queries))
	for i := range pages {
		p := &pages[i]
		f := r.Uint()
		*p = bridge.Replay{
			More: f&flagMore != 0, Gap: f&flagGap != 0, Undecided: f&flagUndecided != 0,
			From: queries[i].After, Horizon: horizon, Term: h.term,
		}
		p.Last, p.Before = readOffset(r), readOffset(r)
		envelopes := make([]bridge.Envelope, r.Count(minEntry))
		p.Entries = make([]*bridge.Envelope, len(envelopes))
		for j := range envelopes {
			e := &envelopes[j]
			e.User, e.Offset = queries[i].User, readOffset(r)
			if r.Uint() == 1 {
				e.Topic, e.Payload = r.Text(), r.Bytes()
			}
			p.Entries[j] = e
		}
	}
	return pages, h.term, complete(r)
}
