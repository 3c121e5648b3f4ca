package bridge

import (
	"cmp"
	"slices"
)

// indexOrder has the messages of an index in the order of the stream, so that the oldest can
// go first whatever their logs are.
type indexOrder struct {
	items    []indexed
	first    int // of items that were not dropped
	payloads int // of those, how many have no payload any more, counted from the first
}

// indexed is a message and its log, which may have dropped it already.
type indexed struct {
	log    *indexLog // nil: it is in none
	seq    uint64
	stored int64 // ms since 1970

	// payload is the bytes that its payload takes. A batch's payloads share their memory, which
	// is free when all have gone, so they are counted here and not in the logs.
	payload int
}

func (o *indexOrder) len() int { return len(o.items) - o.first }

func (o *indexOrder) at(i int) *indexed { return &o.items[o.first+i] }

func (o *indexOrder) add(item indexed) {
	if o.first > len(o.items)/2 && len(o.items) == cap(o.items) {
		n := copy(o.items, o.items[o.first:]) // in place of a larger slice
		clear(o.items[n:])
		o.items, o.first = o.items[:n], 0
	}
	o.items = append(o.items, item)
}

// drop drops the oldest.
func (o *indexOrder) drop() {
	o.items[o.first] = indexed{}
	o.first++
	o.payloads = max(o.payloads-1, 0)
}

// unload returns the oldest message whose payload is in memory, and counts it as one without;
// nil when there is none.
func (o *indexOrder) unload() *indexed {
	if o.payloads == o.len() {
		return nil
	}
	o.payloads++
	return o.at(o.payloads - 1)
}

// cut drops what is after a sequence, and returns the bytes of the payloads.
func (o *indexOrder) cut(seq uint64) (payloads int) {
	i, _ := o.find(seq + 1)
	for _, item := range o.items[o.first+i:] {
		payloads += item.payload
	}
	clear(o.items[o.first+i:])
	o.items = o.items[:o.first+i]
	o.payloads = min(o.payloads, o.len())
	return payloads
}

// find returns where a sequence is, or would be.
func (o *indexOrder) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(o.items[o.first:], seq, func(item indexed, seq uint64) int {
		return cmp.Compare(item.seq, seq)
	})
}
