package hub

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// packets are the forms of one event, encoded when first needed and shared by all its sockets.
// Owned by one goroutine, and pooled.
type packets struct {
	e                   *bridge.Envelope
	with, plain         sio.Packet // with the offset, and without
	madeWith, madePlain bool
}

var packetPool = sync.Pool{New: func() any { return new(packets) }}

// packetsOf takes packets for an envelope from the pool; release returns them.
func packetsOf(e *bridge.Envelope) *packets {
	p := packetPool.Get().(*packets)
	p.e, p.madeWith, p.madePlain = e, false, false
	return p
}

func (p *packets) release() {
	const most = 64 << 10 // the pool must not keep the memory of large packets
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

// traceArgument is the argument after the payload of a traced message, for clients that have asked
// for it with `auth: {trace: true}`. It is an object, so that the cursor stays the last string.
type traceArgument struct {
	Traceparent string `json:"traceparent"`
}

// asksForTrace reports whether a client has asked for it.
func asksForTrace(c *sio.Socket) bool { return c.Auth().Trace }

// tracedPacket is the event of a traced message, for a client that has asked for the trace.
func tracedPacket(e *bridge.Envelope, cursor string) *sio.Packet {
	argument, err := json.Marshal(traceArgument{e.Parent})
	if err != nil {
		panic(err) // a string always encodes
	}
	return sio.EventPacket(e.Topic, slices.Concat(e.Payload, []byte(","), argument), cursor)
}

// ackedArguments are the arguments of an event that a client is to confirm.
func (s *socket) ackedArguments(e *bridge.Envelope) []any {
	if s.traces && e.Parent != "" {
		return []any{json.RawMessage(e.Payload), traceArgument{e.Parent}}
	}
	return []any{json.RawMessage(e.Payload)}
}
