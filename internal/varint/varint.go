// Package varint reads and writes messages of unsigned varints, and of texts preceded by
// their length.
package varint

import "encoding/binary"

// AppendText appends the length of s and s.
func AppendText[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Reader takes fields off the front of Rest. After the first error it returns zeros, so a caller
// needs one check, at the end.
type Reader struct {
	Rest []byte
	Bad  bool // a field was not complete
}

// Uint reads one number.
func (r *Reader) Uint() uint64 {
	n, size := binary.Uvarint(r.Rest)
	if size <= 0 {
		r.fail()
		return 0
	}
	r.Rest = r.Rest[size:]
	return n
}

// Count reads how many items follow. size is the least bytes of one item: a greater count than the
// rest can hold is an error, so that no memory is allocated for it.
func (r *Reader) Count(size int) int {
	n := r.Uint()
	if n > uint64(len(r.Rest)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

// Bytes reads a text. The result shares the memory of Rest.
func (r *Reader) Bytes() []byte {
	n := r.Count(1)
	b := r.Rest[:n:n]
	r.Rest = r.Rest[n:]
	return b
}

// Text reads a copy of a text.
func (r *Reader) Text() string { return string(r.Bytes()) }

// Done reports whether everything was read, without an error.
func (r *Reader) Done() bool { return !r.Bad && len(r.Rest) == 0 }

func (r *Reader) fail() { r.Bad, r.Rest = true, nil }
