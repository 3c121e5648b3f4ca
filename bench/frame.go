package main

import (
	"encoding/binary"
	"errors"
)

// Opcodes of RFC 6455 that a server uses.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10

	opDeflated = 0x40 | opText // a text that was compressed
)

var errFrame = errors.New("not a frame that a server sends here")

// nextFrame reads one frame of a server from the beginning of b. The payload is part of b.
// When b does not hold all of the frame, size is 0. A fragmented or masked frame is an
// error, and any compressed one but a text.
func nextFrame(b []byte) (op byte, payload []byte, size int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	op = b[0] & 0x4f
	if b[0]&0xb0 != 0x80 || b[1]&0x80 != 0 || op != opText && op != opDeflated && op != opClose && op != opPing && op != opPong {
		return 0, nil, 0, errFrame
	}
	header, length := 2, uint64(b[1])
	switch {
	case length == 126 && len(b) < 4, length == 127 && len(b) < 10:
		return 0, nil, 0, nil
	case length == 126:
		header, length = 4, uint64(binary.BigEndian.Uint16(b[2:]))
	case length == 127:
		header, length = 10, binary.BigEndian.Uint64(b[2:])
	}
	if length > maxFrame {
		return 0, nil, 0, errFrame
	}
	if uint64(len(b)-header) < length {
		return 0, nil, 0, nil
	}
	size = header + int(length)
	return op, b[header:size], size, nil
}

// maxFrame bounds what a broken length makes us wait for, in bytes.
const maxFrame = 16 << 20

// mask is the key of every frame of ours. It need not be a secret here.
var mask = [4]byte{0x5a, 0x13, 0xc7, 0x88}

// appendFrame adds a client's frame to b. The payload is at most 125 bytes: browsers here
// have little to say.
func appendFrame(b []byte, op byte, payload string) []byte {
	b = append(b, 0x80|op, 0x80|byte(len(payload)))
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}
