package app

import (
	"context"
	"encoding/json"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/subscriber"
)

// kindReplaced is the question by which a node is told of a replaced socket.
const kindReplaced = "replaced"

// peers are the other nodes, as the hub knows them.
type peers struct{ sub *subscriber.Client }

// Replaced implements [hub.Peers]. With NATS there, no answer before ctx has ended
// means that nobody subscribes to the node's subject.
func (p peers) Replaced(ctx context.Context, r bridge.Replaced) bool {
	body, err := json.Marshal(r)
	if err != nil {
		panic(err) // texts always encode
	}
	_, heard := p.sub.QueryNodes(ctx, []bridge.NodeID{r.Node}, kindReplaced, body)[r.Node]
	return heard || ctx.Err() == nil && p.sub.Ready() == nil
}

// answering puts the hub's question before those of operators.
func answering(hub *hub.Hub, operators subscriber.QueryHandler) subscriber.QueryHandler {
	return func(kind string, body []byte) []byte {
		if kind != kindReplaced {
			return operators(kind, body)
		}
		var r bridge.Replaced
		if json.Unmarshal(body, &r) != nil {
			return nil
		}
		hub.CloseReplaced(r)
		return []byte("{}")
	}
}
