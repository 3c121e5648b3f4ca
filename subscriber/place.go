package subscriber

import "strings"

// place is where a message stands, read from the reply subject that JetStream
// gives each message it delivers.
type place struct {
	stream   uint64 // sequence in the stream
	consumer uint64 // sequence in the consumer: 1, 2, 3 ... unless one was lost on the way
	stored   uint64 // when the stream took it, in ns since 1970
}

// parsePlace reads a reply subject without allocating:
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>
//
// and the second form may have more tokens behind that.
func parsePlace(reply string) (p place, ok bool) {
	rest, found := strings.CutPrefix(reply, "$JS.ACK.")
	if !found {
		return place{}, false
	}
	skip := 3 // tokens before the stream sequence
	if strings.Count(rest, ".") >= 8 {
		skip = 5
	}
	for range skip {
		if _, rest, ok = strings.Cut(rest, "."); !ok {
			return place{}, false
		}
	}
	stream, rest, _ := strings.Cut(rest, ".")
	consumer, rest, _ := strings.Cut(rest, ".")
	stored, _, more := strings.Cut(rest, ".")
	p.stream, ok = number(stream)
	if !ok || !more {
		return place{}, false
	}
	if p.consumer, ok = number(consumer); !ok {
		return place{}, false
	}
	p.stored, ok = number(stored)
	return p, ok
}

// number reads a decimal sequence: no sign, no overflow.
func number(s string) (n uint64, ok bool) {
	if s == "" || len(s) > 19 {
		return 0, false
	}
	for i := range len(s) {
		c := s[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	return n, true
}
