package sio

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// Packet is one packet for clients. It is encoded once for both transports, compressed at most
// once, and shared by all sockets to which it is pushed.
type Packet struct {
	frame []byte // complete unmasked websocket text frame
	text  []byte // its payload: Engine.IO type and packet, as polling has it

	compress sync.Once // makes small, when the first connection wants it
	small    []byte    // complete compressed frame; empty when it would not be smaller
}

// Len returns the size of the packet in bytes, not compressed.
func (p *Packet) Len() int { return len(p.frame) }

// EventPacket encodes the event `2["name",payload,"offset"]`. It copies the payload, which must
// be a valid JSON object. The client presents the offset when it resumes; "" omits it.
func EventPacket(name string, payload []byte, offset string) *Packet {
	p := new(Packet)
	p.SetEvent(name, payload, offset)
	return p
}

// SetEvent makes p another event and reuses its memory. Push copies a packet, so SetEvent may
// be called when each Push of p has returned.
func (p *Packet) SetEvent(name string, payload []byte, offset string) {
	quotedName := appendQuoted(make([]byte, 0, 64), name)
	quotedOffset := make([]byte, 0, 64)
	if offset != "" {
		quotedOffset = appendQuoted(append(quotedOffset, ','), offset)
	}
	p.set([]byte("42["), quotedName, []byte(","), payload, quotedOffset, []byte("]"))
}

// eventPacket encodes an event whose arguments are Go values; raw JSON is copied. prefix is the
// packet's type, with its id if it has one. With guard it adds a null after a last argument that
// is a string.
func eventPacket(prefix, name string, args []any, guard bool) (*Packet, error) {
	text := appendQuoted(append([]byte(prefix), '['), name)
	for _, arg := range args {
		raw, ok := arg.(json.RawMessage)
		if !ok {
			var err error
			if raw, err = json.Marshal(arg); err != nil {
				return nil, fmt.Errorf("encode event: %w", err)
			}
		}
		text = append(append(text, ','), raw...)
	}
	if guard && len(args) > 0 && text[len(text)-1] == '"' {
		text = append(text, ",null"...)
	}
	return textPacket(string(append(text, ']'))), nil
}

// textPacket makes a packet of an Engine.IO packet.
func textPacket(text string) *Packet {
	p := new(Packet)
	p.set([]byte(text))
	return p
}

// set makes p the packet whose text consists of the parts.
func (p *Packet) set(parts ...[]byte) {
	n := 0
	for _, part := range parts {
		n += len(part)
	}
	p.frame = appendFrameHeader(slices.Grow(p.frame[:0], maxFrameHeader+n), opText, n)
	for _, part := range parts {
		p.frame = append(p.frame, part...)
	}
	p.text = p.frame[len(p.frame)-n:]
	p.compress, p.small = sync.Once{}, p.small[:0]
}

// appendQuoted appends s as a JSON string. Names and offsets need no escaping.
func appendQuoted(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, _ := json.Marshal(s) // a string cannot fail
			return append(dst, b...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// Websocket frames (RFC 6455, section 5.2); a server does not mask.
const (
	opText         = 0x1
	opClose        = 0x8
	opPong         = 0xA
	compressed     = 0x40 // RSV1, RFC 7692
	maxFrameHeader = 10
)

// closeNormal is the payload of a close frame: code 1000.
const closeNormal = "\x03\xe8"

var closeFrame = append(appendFrameHeader(nil, opClose, len(closeNormal)), closeNormal...)

func appendFrameHeader(dst []byte, op byte, n int) []byte {
	dst = append(dst, 0x80|op)
	switch {
	case n < 126:
		return append(dst, byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
	}
}

// attachment is the first byte of a polling client's binary packet.
const attachment = "b"

// Constant packets.
var (
	pingPacket       = textPacket("2")
	disconnectPacket = textPacket("41") // Socket.IO: the client is disconnected from the namespace
	closePacket      = textPacket("1")  // Engine.IO: the session is closed
	noopPacket       = textPacket("6")  // Engine.IO: no operation, to answer a GET
)

// String returns the Socket.IO packet without the Engine.IO type before it.
func (p *Packet) String() string { return string(p.text[1:]) }
