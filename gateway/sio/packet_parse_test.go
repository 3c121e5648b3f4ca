package sio

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParsePacket(t *testing.T) {
	t.Parallel()
	id := func(n uint64) *uint64 { return &n }
	raw := func(args ...string) (out []json.RawMessage) {
		for _, a := range args {
			out = append(out, json.RawMessage(a))
		}
		return out
	}
	for name, tc := range map[string]struct {
		in   string
		want inPacket
	}{
		"connect":             {`0`, inPacket{typ: connectType, nsp: "/"}},
		"connect with auth":   {`0{"pid":"p","a":[1]}`, inPacket{typ: connectType, nsp: "/", auth: Auth{PID: "p"}}},
		"connect elsewhere":   {`0/admin,{"token":"t"}`, inPacket{typ: connectType, nsp: "/admin", auth: Auth{Token: "t"}}},
		"connect no comma":    {`0/admin`, inPacket{typ: connectType, nsp: "/admin"}},
		"disconnect":          {`1`, inPacket{typ: disconnectType, nsp: "/"}},
		"event":               {`2["e"]`, inPacket{typ: eventType, nsp: "/", event: "e", args: raw()}},
		"event with args":     {`2["e",1.50,{"b":"\u00e9"}]`, inPacket{typ: eventType, nsp: "/", event: "e", args: raw("1.50", `{"b":"\u00e9"}`)}},
		"event wants ack":     {`212["e",null]`, inPacket{typ: eventType, nsp: "/", id: id(12), event: "e", args: raw("null")}},
		"event named error":   {`2["error"]`, inPacket{typ: eventType, nsp: "/", event: "error", args: raw()}},
		"event named 5":       {`2[5,1]`, inPacket{typ: eventType, nsp: "/", event: "5", args: raw("1")}},
		"binary event":        {`52-7["e",{"_placeholder":true,"num":0}]`, inPacket{typ: eventType, nsp: "/", id: id(7), event: "e", args: raw(`{"_placeholder":true,"num":0}`), attachments: 2}},
		"binary ack":          {`610-7[1]`, inPacket{typ: ackType, nsp: "/", id: id(7), args: raw("1"), attachments: 10}},
		"ack":                 {`37[]`, inPacket{typ: ackType, nsp: "/", id: id(7), args: raw()}},
		"ack with args":       {`37["ok"]`, inPacket{typ: ackType, nsp: "/", id: id(7), args: raw(`"ok"`)}},
		"largest id possible": {`318446744073709551615[]`, inPacket{typ: ackType, nsp: "/", id: id(1<<64 - 1), args: raw()}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parsePacket([]byte(tc.in))
			if err != nil {
				t.Fatal(err)
			}
			empty := cmp.Transformer("empty", func(in []json.RawMessage) []json.RawMessage {
				return append([]json.RawMessage{}, in...)
			})
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(inPacket{}), cmp.FilterPath(func(p cmp.Path) bool {
				return p.Last().String() == ".args"
			}, empty)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// badPackets is what must never get past the parser.
var badPackets = []string{
	"", "x", "2", "21", "2[]", "2[true]", "2[null]", "2{}", `2["e"`, `2["e"]x`, "2null", "2[[]]",
	`2["connect"]`, `2["disconnecting"]`, `2["newListener"]`,
	"3", "3[]", "31", "31{}", "31null", "318446744073709551616[]",
	"0[]", `0"x"`, "0null", "01", "0{", "1x", "11", "4", `4{"message":"x"}`,
	"50-", "51-", "51", "5-1-[1]", "511-[1]", "50001-[1]", "61-[]", "60-[]", "59999999-[]", "7",
	"2[\"\xff\"]", "0/a\x1eb,", "0/" + strings.Repeat("n", 200),
	`2["e"` + strings.Repeat(",1", maxArguments) + "]", "31[1" + strings.Repeat(",1", maxArguments) + "]", `2["` + strings.Repeat("e", maxEventName) + `"]`,
	"2" + strings.Repeat("[", 20_000), `2["e",` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + "]",
}

func TestParsePacketRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range badPackets {
		if p, err := parsePacket([]byte(in)); err == nil {
			t.Errorf("%.40q is taken as %+v", in, p)
		}
	}
}

// FuzzDecoder: whatever a client sends, the parser does not panic, and what it
// lets through has the shape of its type and survives being written again.
func FuzzDecoder(f *testing.F) {
	for _, in := range badPackets {
		f.Add([]byte(in))
	}
	for _, in := range []string{`0{"pid":"a","offset":"1-2"}`, `0/admin,`, "1", `2["e",{"a":[1,2]}]`, `21["e"]`, `31["x"]`} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := parsePacket(in)
		if err != nil {
			return
		}
		if p.nsp == "" || p.nsp[0] != '/' || len(p.nsp) > maxNamespace || strings.ContainsFunc(p.nsp, func(r rune) bool { return r < ' ' }) {
			t.Fatalf("namespace %q", p.nsp)
		}
		for _, a := range p.args {
			if !json.Valid(a) || strings.ContainsRune(string(a), separator) {
				t.Fatalf("argument %q", a)
			}
		}
		switch p.typ {
		case connectType:
			if p.id != nil {
				t.Fatalf("CONNECT %+v", p)
			}
		case disconnectType:
		case eventType:
			if reserved[p.event] {
				t.Fatalf("event %q", p.event)
			}
			again, err := json.Marshal(append([]any{p.event}, anySlice(p.args)...))
			if err != nil {
				t.Fatal(err)
			}
			if q, err := parsePacket(append([]byte("2"), again...)); err != nil || q.event != p.event || len(q.args) != len(p.args) {
				t.Fatalf("written again as %q: %+v, %v", again, q, err)
			}
		case ackType:
			if p.id == nil {
				t.Fatal("ACK without id")
			}
		default:
			t.Fatalf("type %q", p.typ)
		}
	})
}

func anySlice(args []json.RawMessage) (out []any) {
	for _, a := range args {
		out = append(out, a)
	}
	return out
}
