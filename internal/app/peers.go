package app

import (
	"context"
	"encoding/json"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/subscriber"
)

// kindReplaced is the kind of query that tells a node of a replaced socket.
const kindReplaced = "replaced"

// peers sends the hub's queries to other nodes.
type peers struct{ sub *subscriber.Client }

// Replaced implements [hub.Peers]. While NATS is connected, no answer before the end of ctx means
// that the node does not exist any more.
func (p peers) Replaced(ctx context.Context, r bridge.Replaced) bool {
	body, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings always encode
	}
	_, heard := p.sub.QueryNodes(ctx, []bridge.NodeID{r.Node}, kindReplaced, body)[r.Node]
	return heard || ctx.Err() == nil && p.sub.Ready() == nil
}

// answering answers the hub's queries, and passes the others to the operators' service.
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
