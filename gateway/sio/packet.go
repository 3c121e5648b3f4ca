package sio

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
)

// Packet is one packet to a client, encoded once in the forms of both transports, compressed
// at most once, and shared by all sockets it goes to.
type Packet struct {
	frame []byte // complete unmasked websocket text frame
	text  []byte // its payload: Engine.IO type and packet, as polling has it

	compress sync.Once // makes small, when the first connection wants it
	small    []byte    // complete compressed frame; empty when it would not be smaller
}

// Len is the size of the packet in bytes, not compressed.
func (p *Packet) Len() int { return len(p.frame) }

// EventPacket encodes the event `2["name",payload,"offset"]`. The payload is
// copied as it stands: it must be a JSON object, valid. The offset is what the
// client presents when it resumes; an empty one is left out.
func EventPacket(name string, payload []byte, offset string) *Packet {
	p := new(Packet)
	p.SetEvent(name, payload, offset)
	return p
}

// SetEvent makes p another event, in the memory of the one before. A Push copies
// what it needs, so p may be set anew once every Push of it has returned.
func (p *Packet) SetEvent(name string, payload []byte, offset string) {
	quotedName := appendQuoted(make([]byte, 0, 64), name)
	quotedOffset := make([]byte, 0, 64)
	if offset != "" {
		quotedOffset = appendQuoted(append(quotedOffset, ','), offset)
	}
	p.begin(len("42[,]") + len(quotedName) + len(payload) + len(quotedOffset))
	p.add([]byte("42["))
	p.add(quotedName)
	p.add([]byte(","))
	p.add(payload)
	p.add(quotedOffset)
	p.add([]byte("]"))
}

// eventPacket encodes an event whose arguments are Go values. Raw JSON among them
// goes out byte by byte. prefix is the packet's type, with its id if it has one.
// With guard a null is put behind a string that would come last.
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
	p.begin(len(text))
	p.add([]byte(text))
	return p
}

// begin prepares a text of n bytes, which is still to be added.
func (p *Packet) begin(n int) {
	p.frame = appendFrameHeader(slices.Grow(p.frame[:0], maxFrameHeader+n), opText, n)
	p.text = nil
	p.compress, p.small = sync.Once{}, p.small[:0]
}

func (p *Packet) add(text []byte) {
	header := len(p.frame) - len(p.text)
	p.frame = append(p.frame, text...)
	p.text = p.frame[header:]
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

// attachment is how a polling client's binary packet begins.
const attachment = "b"

// Packets that never differ.
var (
	pingPacket       = textPacket("2")
	disconnectPacket = textPacket("41") // Socket.IO: you have left the namespace
	closePacket      = textPacket("1")  // Engine.IO: the session is over
	noopPacket       = textPacket("6")  // Engine.IO: nothing, to let a GET go
)

// String is the Socket.IO packet, without the Engine.IO type before it.
func (p *Packet) String() string { return string(p.text[1:]) }
