package hub

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// packets are the forms of one event: encoded when first needed, shared by all
// sockets it goes to. Used by one goroutine, in memory that is used again.
type packets struct {
	e                   *bridge.Envelope
	with, plain         sio.Packet // with the offset, and without
	madeWith, madePlain bool
}

var packetPool = sync.Pool{New: func() any { return new(packets) }}

// packetsOf begins with an envelope; release ends with it, when it was pushed.
func packetsOf(e *bridge.Envelope) *packets {
	p := packetPool.Get().(*packets)
	p.e, p.madeWith, p.madePlain = e, false, false
	return p
}

func (p *packets) release() {
	const most = 64 << 10 // a large one's memory must not stay for ever
	if p.with.Len()+p.plain.Len() > most {
		return
	}
	p.e = nil
	packetPool.Put(p)
}

func (p *packets) of(s *socket) *sio.Packet {
	if s.traces && p.e.Parent != "" {
		return tracedPacket(p.e, s.argument(p.e.Offset))
	}
	if s.cursors == cursorArgument {
		if !p.madeWith {
			p.with.SetEvent(p.e.Topic, p.e.Payload, s.argument(p.e.Offset))
			p.madeWith = true
		}
		return &p.with
	}
	if !p.madePlain {
		p.plain.SetEvent(p.e.Topic, p.e.Payload, "")
		p.madePlain = true
	}
	return &p.plain
}

// traceArgument is the argument that a page gets after the payload of a message that
// is followed, when it has asked for that with `auth: {trace: true}`. It is an object,
// so the offset stays the last string.
type traceArgument struct {
	Traceparent string `json:"traceparent"`
}

// asksForTrace decides who is given it: whoever says so. A handler that takes only
// the payload does not notice.
func asksForTrace(c *sio.Socket) bool { return c.Auth().Trace }

// tracedPacket is the event of a message that is followed, for a page that asked.
func tracedPacket(e *bridge.Envelope, cursor string) *sio.Packet {
	argument, err := json.Marshal(traceArgument{e.Parent})
	if err != nil {
		panic(err) // a string always encodes
	}
	return sio.EventPacket(e.Topic, slices.Concat(e.Payload, []byte(","), argument), cursor)
}

// ackedArguments are those of an event that a page is to confirm.
func (s *socket) ackedArguments(e *bridge.Envelope) []any {
	if s.traces && e.Parent != "" {
		return []any{json.RawMessage(e.Payload), traceArgument{e.Parent}}
	}
	return []any{json.RawMessage(e.Payload)}
}
