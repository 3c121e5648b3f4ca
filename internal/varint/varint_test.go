package varint

import (
	"encoding/binary"
	"testing"
)

func TestReader(t *testing.T) {
	data := AppendText(binary.AppendUvarint(binary.AppendUvarint(nil, 300), 2), "text")
	r := Reader{Rest: data}
	if a, n, s := r.Uint(), r.Count(2), r.Text(); a != 300 || n != 2 || s != "text" || !r.Done() {
		t.Errorf("read %d, %d, %q, %+v", a, n, s, r)
	}
	for n := range data {
		r := Reader{Rest: data[:n]}
		r.Uint()
		r.Uint()
		r.Bytes()
		if r.Done() || !r.Bad {
			t.Errorf("the first %d bytes are complete: %+v", n, r)
		}
	}
	for name, r := range map[string]Reader{"too many items": {Rest: []byte{3, 1, 1, 1, 1}}, "too long": {Rest: binary.AppendUvarint(nil, 1<<63)}} {
		if n := r.Count(2); n != 0 || !r.Bad || r.Uint() != 0 || len(r.Bytes()) != 0 {
			t.Errorf("%s: count %d, %+v", name, n, r)
		}
	}
}
