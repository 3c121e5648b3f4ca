package sio

import (
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"
)

func TestEventPacket(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, payload, offset, want string }{
		{"t", `{}`, "", `42["t",{}]`},
		{"submissionUpdate", `{"n":1.50}`, "17-3", `42["submissionUpdate",{"n":1.50},"17-3"]`},
		{"a\"b\né", `{"x":"<>"}`, "", `42["a\"b\né",{"x":"<>"}]`},
		{"t", `{"s":"` + strings.Repeat("x", 200) + `"}`, "1-1", `42["t",{"s":"` + strings.Repeat("x", 200) + `"},"1-1"]`},
		{"t", `{"s":"` + strings.Repeat("x", 70_000) + `"}`, "", `42["t",{"s":"` + strings.Repeat("x", 70_000) + `"}]`},
	} {
		p := EventPacket(tc.name, []byte(tc.payload), tc.offset)
		if got := string(p.text); got != tc.want {
			t.Errorf("text %.80q, want %.80q", got, tc.want)
		}
		if got := readFrame(t, p.frame); got != tc.want {
			t.Errorf("frame %.80q, want %.80q", got, tc.want)
		}
		if p.Len() != len(p.frame) || &p.text[0] != &p.frame[len(p.frame)-len(p.text)] {
			t.Error("the text is not a part of the frame")
		}
	}
}

// readFrame takes an unmasked text frame apart.
func readFrame(t *testing.T, frame []byte) string {
	t.Helper()
	if frame[0] != 0x81 {
		t.Fatalf("not one whole text frame: %x", frame[0])
	}
	n, rest := uint64(frame[1]), frame[2:]
	switch n {
	case 126:
		n, rest = uint64(binary.BigEndian.Uint16(rest)), rest[2:]
	case 127:
		n, rest = binary.BigEndian.Uint64(rest), rest[8:]
	}
	if n != uint64(len(rest)) {
		t.Fatalf("length %d, have %d", n, len(rest))
	}
	return string(rest)
}

// TestEventPacketAllocates: two allocations, the packet and its bytes, whatever the size.
func TestEventPacketAllocates(t *testing.T) {
	payload := []byte(`{"s":"` + strings.Repeat("x", 3000) + `"}`)
	if n := testing.AllocsPerRun(100, func() { EventPacket("submissionUpdate", payload, "1735689600000-42") }); n > 2 {
		t.Errorf("%v allocations", n)
	}
}

func TestEventPacketOfValues(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]any{
		`42["e"]`:              nil,
		`42["e",null]`:         {nil},
		`42["e","abc",null]`:   {"abc"},
		`42["e","abc",1]`:      {"abc", 1},
		`42["e",{"a":"<b>"}]`:  {json.RawMessage(`{"a":"<b>"}`)},
		`42["e",["x"]]`:        {[]string{"x"}},
		`42["e",{"ok":"yes"}]`: {map[string]any{"ok": "yes"}},
	} {
		p, err := eventPacket("42", "e", args, true)
		if err != nil {
			t.Fatal(err)
		}
		if string(p.text) != want {
			t.Errorf("got %s, want %s", p.text, want)
		}
	}
	if _, err := eventPacket("42", "e", []any{func() {}}, true); err == nil {
		t.Error("a func is encoded")
	}
}
