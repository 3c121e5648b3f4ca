package store

import (
	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// paper is what [Redis.Append] spells its commands on. It is kept for the next
// batch, because to allocate it anew would take as long as to fill it. It belongs to
// whoever holds the tails' token; nothing on it is good after that.
type paper struct {
	places  map[bridge.UserID]int
	runOf   slab[int] // of each entry
	indexes slab[int]
	runs    slab[userRun]
	known   slab[knownAppend]
	adds    slab[redis.StringCmd]
	marks   slab[redis.StatusCmd]
	looks   slab[redis.StringSliceCmd]
	cmds    []redis.Cmder // that are to be sent, in order
	ids     slab[string]
	args    slab[any]
	text    slab[byte] // not zero, and so to be appended to
}

func (p *paper) reset() {
	clear(p.places)
	p.runOf.reset()
	p.indexes.reset()
	p.runs.reset()
	p.known.reset()
	p.adds.reset()
	p.marks.reset()
	p.looks.reset()
	clear(p.cmds)
	p.cmds = p.cmds[:0]
	p.ids.reset()
	p.args.reset()
	p.text.items = p.text.items[:0] // megabytes that need not be zero
}

// list lays out a command's arguments. Pointers to strings cost no allocation, which
// strings do.
func (p *paper) list(args ...any) []any {
	out := p.args.take(len(args))
	copy(out, args)
	return out
}

// send puts a command behind those that are to be sent.
func (p *paper) send(c redis.Cmder) { p.cmds = append(p.cmds, c) }

// slab gives out memory that is used again after a reset. It grows to what is
// taken between two of them.
type slab[T any] struct{ items []T }

// take returns n zero items, which stay where they are until the reset.
func (s *slab[T]) take(n int) []T {
	const least = 64
	from := len(s.items)
	if cap(s.items)-from < n {
		s.items, from = make([]T, 0, max(2*cap(s.items), n, least)), 0
	}
	s.items = s.items[:from+n]
	return s.items[from : from+n : from+n]
}

func (s *slab[T]) reset() {
	clear(s.items)
	s.items = s.items[:0]
}
