package hub

import (
	"context"

	"github.com/codewar/socketbridge/bridge"
)

// testRoutes is what a test's router dispatches to: the leader's hub, and forward for other nodes.
type testRoutes struct {
	*Hub
	strip   func(*bridge.Envelope) *bridge.Envelope
	forward func(node bridge.NodeID, batch []*bridge.Envelope, done func([]bridge.Count, error))
}

func (r testRoutes) Push(e *bridge.Envelope) bridge.Count { return r.Hub.Push(r.strip(e)) }

func (r testRoutes) PushAcked(e *bridge.Envelope, done func(bridge.Count)) {
	r.Hub.PushAcked(r.strip(e), done)
}

func (r testRoutes) Forward(_ uint64, node bridge.NodeID, batch []*bridge.Envelope, done func([]bridge.Count, error)) {
	r.forward(node, batch, done)
}

func (testRoutes) Beat(uint64, uint64)                               {}
func (testRoutes) Nodes() []bridge.NodeID                            { return nil }
func (testRoutes) Unregistered() []bridge.NodeID                     { return nil }
func (testRoutes) Withdraw(_ uint64, _ bridge.Offset, d func(error)) { d(nil) }
func (testRoutes) SendReceipt(string, bridge.Receipt)                {}

func (testRoutes) StoreDeadLetter(context.Context, *bridge.Message, *bridge.InvalidError) error {
	return errGone
}
