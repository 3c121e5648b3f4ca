package bridge

import (
	"encoding/binary"
	"math/bits"
)

// What a scanner expected.
const (
	wantValue  = "a value"
	wantEscape = "an escape: \\ and one of \"\\/bfnrt, or u and four hexadecimal digits"
)

// MaxDepth bounds how deep arrays and objects of an envelope may nest. encoding/json stops
// at 10,000, Python at about 1,000; no verdict needs 100.
const MaxDepth = 512

// scanner validates JSON (RFC 8259) without decoding it. A payload goes to the
// client unchanged, and one that the client cannot parse would end its
// connection, so the scanner must accept valid JSON only.
type scanner struct {
	b     []byte
	i     int // next byte; after an error the one that is wrong
	depth int
	want  string // after an error: what was expected at i
}

// fail records what was expected at the next byte.
func (s *scanner) fail(expected string) *InvalidError {
	s.want = expected
	return errJSON
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// next consumes c after white space and reports whether it was there.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// value consumes one value of any kind.
func (s *scanner) value() *InvalidError {
	s.space()
	if s.i == len(s.b) {
		return s.fail(wantValue)
	}
	switch c := s.b[s.i]; {
	case c == '"':
		return s.string()
	case c == '{' || c == '[':
		return s.nested(c)
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.fail(wantValue)
}

// nested consumes an array or an object, whose opening byte is next.
func (s *scanner) nested(open byte) *InvalidError {
	s.i++
	if s.depth++; s.depth > MaxDepth {
		return errDepth
	}
	defer func() { s.depth-- }()
	end := open + 2 // in ASCII ']' and '}' are two after their opening
	if s.next(end) {
		return nil
	}
	for {
		if open == '{' {
			if _, err := s.key(); err != nil {
				return err
			}
		}
		if err := s.value(); err != nil {
			return err
		}
		if s.next(end) {
			return nil
		}
		if !s.next(',') {
			return s.fail("a comma or " + string(end))
		}
	}
}

// key consumes an object's key and its colon, and returns the key with its quotes.
func (s *scanner) key() ([]byte, *InvalidError) {
	s.space()
	if s.i == len(s.b) || s.b[s.i] != '"' {
		return nil, s.fail("a key in double quotes")
	}
	from := s.i
	if err := s.string(); err != nil {
		return nil, err
	}
	raw := s.b[from:s.i]
	if !s.next(':') {
		return nil, s.fail("a colon")
	}
	return raw, nil
}

// string consumes a string, whose opening quote is next.
func (s *scanner) string() *InvalidError {
	b := s.b
	for i := s.i + 1; i < len(b); i++ {
		for len(b)-i >= 8 {
			n := plain(binary.LittleEndian.Uint64(b[i:]))
			i += n
			if n < 8 {
				break
			}
		}
		if i == len(b) {
			break
		}
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			return nil
		case c < ' ':
			s.i = i
			return s.fail("an escape such as \\n for a control character")
		case c == '\\':
			if i++; i == len(b) {
				s.i = i
				return s.fail(wantEscape)
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if len(b)-i < 5 || !hex(b[i+1]) || !hex(b[i+2]) || !hex(b[i+3]) || !hex(b[i+4]) {
					s.i = i
					return s.fail(wantEscape)
				}
				i += 4
			default:
				s.i = i
				return s.fail(wantEscape)
			}
		}
	}
	s.i = len(b)
	return s.fail("the end of a string")
}

// plain is how many of eight bytes, the first one lowest, precede a quote, a backslash or a control
// character. It tests all eight in one step: the subtraction borrows into the high bit of each byte
// that is too small. Bytes above the first of them may be wrong, which does not matter.
func plain(w uint64) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	quote, backslash := w^each*'"', w^each*'\\'
	found := (w-each*' ')&^w | (quote-each)&^quote | (backslash-each)&^backslash
	return bits.TrailingZeros64(found&high) / 8
}

func (s *scanner) number() *InvalidError {
	if s.b[s.i] == '-' {
		s.i++
	}
	switch {
	case s.i < len(s.b) && s.b[s.i] == '0':
		s.i++
	case !s.digits():
		return s.fail("a digit")
	}
	if s.i < len(s.b) && s.b[s.i] == '.' {
		s.i++
		if !s.digits() {
			return s.fail("a digit")
		}
	}
	if s.i < len(s.b) && (s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.i++
		if s.i < len(s.b) && (s.b[s.i] == '+' || s.b[s.i] == '-') {
			s.i++
		}
		if !s.digits() {
			return s.fail("a digit")
		}
	}
	return nil
}

// digits consumes digits and reports whether there was one.
func (s *scanner) digits() bool {
	from := s.i
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > from
}

func (s *scanner) literal(word string) *InvalidError {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return s.fail(word)
	}
	s.i += len(word)
	return nil
}

func hex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
