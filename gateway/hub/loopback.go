package hub

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// Loopback makes this process the only socket of a user. The socket is registered, located, pushed
// to and resynced as a client's is. It has no connection and counts neither as a socket nor as a
// user. take gets each payload, in order; it is called with the socket's lock held, so it must
// not wait. Loopback returns when ctx has ended and the socket is unregistered.
func (h *Hub) Loopback(ctx context.Context, user bridge.UserID, take func(payload []byte)) {
	s := &socket{conn: &loopConn{ctx: ctx, id: "loopback-" + rand.Text(), take: take}, loopback: true}
	_ = h.bind(ctx, s, user, nil, nil) // fails only with ctx
	<-ctx.Done()
	h.unbind(s)
}

// loopConn is a connection to a function.
type loopConn struct {
	ctx  context.Context
	id   string
	take func(payload []byte)
}

func (c *loopConn) ID() string                                                  { return c.id }
func (c *loopConn) PID() string                                                 { return "" }
func (c *loopConn) Emit(string, ...any) error                                   { return nil } // of a gap; the next message is as good
func (c *loopConn) EmitWithAck(string, time.Duration, []any, sio.AckFunc) error { return errUnmapped }
func (c *loopConn) WaitDrained(context.Context, int) error                      { return c.ctx.Err() }
func (c *loopConn) Pending() int                                                { return 0 }
func (c *loopConn) Close(string)                                                {}
func (c *loopConn) Queue(p *sio.Packet) error                                   { return c.Push(p) }

// Push reads the packet as a client would.
func (c *loopConn) Push(p *sio.Packet) error {
	const eventType = "2"
	text := p.String()
	var args []json.RawMessage // name, payload
	if text[:1] != eventType || json.Unmarshal([]byte(text[1:]), &args) != nil || len(args) < 2 {
		return nil
	}
	c.take(args[1])
	return c.ctx.Err()
}
