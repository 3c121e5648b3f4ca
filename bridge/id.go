package bridge

import (
	"cmp"
	"errors"
	"strconv"
	"strings"
)

// UserID says who should receive a message. It is opaque: 1 to [MaxUserID]
// printable characters, compared byte by byte.
type UserID string

// SocketID is the id of one Socket.IO socket, as the browser knows it
// (`socket.id`). A recovered socket keeps its id.
type SocketID string

// NodeID names one running process. It is a NATS subject token: see [ValidNodeID].
type NodeID string

// ValidNodeID reports whether s can name a node: 1 to 64 characters of
// [A-Za-z0-9_-], because the name becomes one token of a NATS subject.
func ValidNodeID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isWord(c) {
			return false
		}
	}
	return true
}

// Offset is the place of a message in the stream: when the stream was created
// (milliseconds since 1970) and the message's sequence in it. A stream that is
// deleted and made anew has a later epoch, so offsets grow for ever. Its text
// form, `<epoch>-<sequence>`, is also a valid Redis Stream entry id and what
// browsers send back to resume.
type Offset struct {
	Epoch uint64
	Seq   uint64
}

// ErrOffset means that a text is not an offset.
var ErrOffset = errors.New("not an offset of the form <milliseconds>-<sequence>")

// ParseOffset reads the text form. Only the spelling that [Offset.String]
// writes is accepted, so equal offsets are equal strings.
func ParseOffset(s string) (Offset, error) {
	epoch, seq, ok := strings.Cut(s, "-")
	if !ok {
		return Offset{}, ErrOffset
	}
	var o Offset
	var err1, err2 error
	o.Epoch, err1 = strconv.ParseUint(epoch, 10, 64)
	o.Seq, err2 = strconv.ParseUint(seq, 10, 64)
	if err1 != nil || err2 != nil || o.String() != s {
		return Offset{}, ErrOffset
	}
	return o, nil
}

// Append appends the text form to dst.
func (o Offset) Append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, o.Epoch, 10)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, o.Seq, 10)
}

func (o Offset) String() string { return string(o.Append(make([]byte, 0, 24))) }

// MarshalText writes the form that [ParseOffset] reads.
func (o Offset) MarshalText() ([]byte, error) { return o.Append(nil), nil }

// UnmarshalText reads the form that [Offset.String] writes.
func (o *Offset) UnmarshalText(b []byte) (err error) {
	*o, err = ParseOffset(string(b))
	return err
}

// IsZero reports whether o is "before every message".
func (o Offset) IsZero() bool { return o == Offset{} }

// Compare orders offsets as the stream does.
func (o Offset) Compare(p Offset) int {
	if c := cmp.Compare(o.Epoch, p.Epoch); c != 0 {
		return c
	}
	return cmp.Compare(o.Seq, p.Seq)
}

// After reports whether o comes after p.
func (o Offset) After(p Offset) bool { return o.Compare(p) > 0 }

// Max returns the later of the two.
func (o Offset) Max(p Offset) Offset {
	if p.After(o) {
		return p
	}
	return o
}
