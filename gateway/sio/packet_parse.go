package sio

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

// violation is the error of a client that breaks a rule. It is the reason for which the
// connection ends.
type violation string

func (v violation) Error() string { return string(v) }

const (
	errPacket     = violation(ReasonProtocol)
	errIdleFrames = violation(ReasonRateLimited) // more than maxIdleFrames in a minute
	errNamespaces = violation(ReasonNamespaces)  // more than maxForeignNamespaces
)

// endOf returns the reason for which, and how, a connection ends because reading from its
// client has failed.
func endOf(err error) (reason string, how closeMode) {
	if v, ok := errors.AsType[violation](err); ok {
		return string(v), flush
	}
	if _, closed := errors.AsType[*websocket.CloseError](err); closed {
		return ReasonTransportClose, flush
	}
	if _, large := errors.AsType[*http.MaxBytesError](err); large || errors.Is(err, websocket.ErrReadLimit) {
		return ReasonTooLarge, flush
	}
	if errors.Is(err, ErrSlow) {
		return ReasonSlow, abort
	}
	return ReasonTransportClose, abort
}

// packetType is the first character of a Socket.IO packet.
type packetType byte

const (
	connectType    packetType = '0'
	disconnectType packetType = '1'
	eventType      packetType = '2'
	ackType        packetType = '3'
	binaryEvent    packetType = '5'
	binaryAck      packetType = '6'
)

// maxAttachments is how many attachments a binary packet may have.
const maxAttachments = 10

// inPacket is one checked packet of a client.
type inPacket struct {
	typ   packetType
	nsp   string  // "/" by default
	id    *uint64 // of an acknowledgement, or of an event that asks for one
	event string  // name of an event
	args  []json.RawMessage
	auth  Auth // of a CONNECT

	// attachments is how many binary packets follow. They are discarded: the arguments have
	// a placeholder for each, which the Handler does not replace.
	attachments int

	refusal *Refusal // why a CONNECT exceeds a bound; nil when it does not
}

// reserved are the event names that neither side may use.
var reserved = map[string]bool{
	"connect": true, "connect_error": true, "disconnect": true,
	"disconnecting": true, "newListener": true, "removeListener": true,
}

// parsePacket parses one Socket.IO text packet: type, [attachments "-"], [namespace ","], [id],
// [JSON]. A binary packet gets the type of its textual counterpart. The arguments alias b.
func parsePacket(b []byte) (p inPacket, err error) {
	if len(b) == 0 || !utf8.Valid(b) {
		return p, errPacket
	}
	p.typ, p.nsp, b = packetType(b[0]), "/", b[1:]
	if p.typ == binaryEvent || p.typ == binaryAck {
		count, _, ok := bytes.Cut(b[:min(len(b), 3)], []byte("-"))
		n, err := strconv.ParseUint(string(count), 10, 8)
		if !ok || err != nil || n == 0 || n > maxAttachments {
			return p, fmt.Errorf("%w: attachments", errPacket)
		}
		p.typ, p.attachments, b = p.typ-binaryEvent+eventType, int(n), b[len(count)+1:]
	}
	if len(b) > 0 && b[0] == '/' {
		end := 0
		for end < len(b) && b[end] != ',' {
			end++
		}
		if !validNamespace(b[:end]) {
			return p, fmt.Errorf("%w: namespace", errPacket)
		}
		p.nsp, b = string(b[:end]), b[min(end+1, len(b)):]
	}
	digits := 0
	for digits < len(b) && '0' <= b[digits] && b[digits] <= '9' {
		digits++
	}
	if digits > 0 {
		id, err := strconv.ParseUint(string(b[:digits]), 10, 64)
		if err != nil {
			return p, errPacket
		}
		p.id, b = &id, b[digits:]
	}
	return p, p.parseData(b)
}

// validNamespace rejects a namespace that cannot be written back to the client.
func validNamespace(b []byte) bool {
	return len(b) <= maxNamespace && !bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' })
}

// parseData parses and checks what follows the id. Each type has one form.
func (p *inPacket) parseData(b []byte) error {
	switch p.typ {
	case connectType:
		var err error
		if p.auth, p.refusal, err = decodeAuth(b); err != nil || p.id != nil {
			return fmt.Errorf("%w: CONNECT", errPacket)
		}
	case disconnectType:
		if p.id != nil || len(b) > 0 {
			return fmt.Errorf("%w: DISCONNECT", errPacket)
		}
	case eventType:
		args, ok := decodeArray(b)
		if !ok || len(args) == 0 || len(args[0]) > maxEventName || !p.nameEvent(args[0]) {
			return fmt.Errorf("%w: EVENT", errPacket)
		}
		p.args = args[1:]
	case ackType:
		args, ok := decodeArray(b)
		if p.id == nil || !ok {
			return fmt.Errorf("%w: ACK", errPacket)
		}
		p.args = args
	default: // unknown, or only for servers to send
		return fmt.Errorf("%w: type %q", errPacket, p.typ)
	}
	return nil
}

// nameEvent sets the name of an event. A number is the same name as a string of its digits.
func (p *inPacket) nameEvent(name json.RawMessage) bool {
	if name[0] == '-' || '0' <= name[0] && name[0] <= '9' {
		p.event = string(name)
		return true
	}
	return name[0] == '"' && json.Unmarshal(name, &p.event) == nil && !reserved[p.event]
}
