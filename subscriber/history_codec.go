package subscriber

import (
	"encoding/binary"

	"github.com/codewar/socketbridge/bridge"
)

// A question for histories is a link head without a term or sequence, the id of the asking node
// if it is to be sent everything, else an empty text, a count, and that many queries: user,
// epoch, sequence, flags, limit. The answer is a head with the leader's term, the
// horizon, a count, and that many pages: flags, last, before, a count of entries, and of each
// the offset, a flag, and with that flag topic and payload. Numbers are uvarints, offsets two of
// them, texts a length and their bytes.

// minQuery and minPage are the least a query and a page can take: empty fields only.
const (
	minQuery = 5
	minPage  = 6
	minItem  = 3
)

// Flags of queries and of pages.
const (
	flagInbox = 1 << iota
	flagPeek
	flagMore
	flagGap
	flagUndecided
)

func appendOffset(b []byte, o bridge.Offset) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, o.Epoch), o.Seq)
}

func (r *reader) offset() bridge.Offset { return bridge.Offset{Epoch: r.number(), Seq: r.number()} }

func flags(set bool, flag uint64) uint64 {
	if set {
		return flag
	}
	return 0
}

// question is what a node asks the leader.
type question struct {
	unregistered bridge.NodeID // the asking node, if it has sockets that the store does not know of
	queries      []bridge.HistoryQuery
}

func encodeQuestion(q question) []byte {
	queries := q.queries
	b := make([]byte, headSize, headSize+64+32*len(queries))
	head{kind: kindQuery}.put(b)
	b = appendText(b, string(q.unregistered))
	b = binary.AppendUvarint(b, uint64(len(queries)))
	for _, q := range queries {
		b = appendText(b, string(q.User))
		b = appendOffset(b, q.After)
		b = binary.AppendUvarint(b, flags(q.Inbox, flagInbox)|flags(q.Peek, flagPeek))
		b = binary.AppendUvarint(b, uint64(q.Limit))
	}
	return b
}

func decodeQuestion(data []byte) (asked question, err error) {
	h, body, err := decodeHead(data)
	if err != nil || h.kind != kindQuery {
		return question{}, errLink
	}
	r := reader{rest: body}
	asked.unregistered = bridge.NodeID(r.bytes())
	if asked.unregistered != "" && !bridge.ValidNodeID(string(asked.unregistered)) {
		return question{}, errLink
	}
	n := r.number()
	if n > uint64(len(r.rest)/minQuery) {
		return question{}, errLink
	}
	queries := make([]bridge.HistoryQuery, n)
	for i := range queries {
		q := &queries[i]
		q.User = bridge.UserID(r.bytes())
		q.After = r.offset()
		f := r.number()
		q.Inbox, q.Peek = f&flagInbox != 0, f&flagPeek != 0
		q.Limit = int(min(r.number(), maxPage))
	}
	asked.queries = queries
	return asked, r.end()
}

// encodePages encodes an answer of about limit bytes at most: payloads that do not fit are left
// out, and the asker reads them from the stream.
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
			b = appendText(b, e.Topic)
			b = appendText(b, string(e.Payload))
		}
	}
	return b
}

// decodePages reads the answer to queries. Payloads share its memory.
func decodePages(data []byte, queries []bridge.HistoryQuery) (pages []bridge.Replay, term uint64, err error) {
	h, body, err := decodeHead(data)
	if err != nil || h.kind != kindPages {
		return nil, 0, errLink
	}
	r := reader{rest: body}
	horizon := r.offset()
	if n := r.number(); n != uint64(len(queries)) || n > uint64(len(r.rest)/minPage) {
		return nil, 0, errLink
	}
	pages = make([]bridge.Replay, len(queries))
	for i := range pages {
		p := &pages[i]
		f := r.number()
		*p = bridge.Replay{
			More: f&flagMore != 0, Gap: f&flagGap != 0, Undecided: f&flagUndecided != 0,
			From: queries[i].After, Horizon: horizon, Term: h.term,
		}
		p.Last, p.Before = r.offset(), r.offset()
		n := r.number()
		if n > uint64(len(r.rest)/minItem) {
			return nil, 0, errLink
		}
		envelopes := make([]bridge.Envelope, n)
		p.Entries = make([]*bridge.Envelope, n)
		for j := range envelopes {
			e := &envelopes[j]
			e.User, e.Offset = queries[i].User, r.offset()
			if r.number() == 1 {
				e.Topic, e.Payload = string(r.bytes()), r.bytes()
			}
			p.Entries[j] = e
		}
	}
	return pages, h.term, r.end()
}
