package admin

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/gateway/sio"
	"github.com/codewar/socketbridge/internal/logging"
)

// Deps is what a [Service] asks.
type Deps struct {
	Node              bridge.NodeID
	Version, Revision string
	StoreKind         string        // "redis" or "memory"
	HistoryTTL        time.Duration // how long a message waits for its user
	MaxPerUser        int           // how many messages wait for a user
	Traces            int           // about how many delivery records are kept
	TraceTTL          time.Duration // how long they are kept at most
	SubjectPrefix     string        // before the topic in a subject
	// PingWindow is the longest time that a connection stays open whose other end is gone: from the
	// last answered ping to the time-out of the next.
	PingWindow time.Duration

	Hub     *hub.Hub
	Server  *gateway.Server
	Ledger  *bridge.Ledger
	Store   Store
	History bridge.History
	Feed    *Feed
	Log     *logging.Handler // of this process

	// Leading reports whether this node leads, how far it has read, and the last sequence.
	Leading func() (leading bool, read, last uint64)
	// NATS returns the last known state of NATS, without waiting. Look updates it.
	NATS func() NATS
	Look func(context.Context) error
	// QueryNodes queries nodes and returns the answers that arrived before ctx ended. Tell sends a
	// message without an answer. See [Service.Answer].
	QueryNodes func(ctx context.Context, nodes []bridge.NodeID, kind string, body []byte) map[bridge.NodeID][]byte
	Tell       func(node bridge.NodeID, kind string, body []byte)
	// DeadLetters returns the newest dead letters, newest first, and how many there are.
	DeadLetters func(ctx context.Context, limit int) (newest []DeadLetter, total uint64, err error)
	// Canary returns the canary's state, nil when it is unknown. Nil: there is no canary.
	Canary func() *Canary
}

// Store is the part of the store that look-ups need.
type Store interface {
	bridge.Records
	Ping(ctx context.Context) error
	Nodes(ctx context.Context) ([]bridge.NodeID, error)
	Delivered(ctx context.Context, user bridge.UserID) (bridge.Offset, error)
}

// DeadLetter is a dead letter, as the API has it.
type DeadLetter struct {
	Seq     uint64        `json:"seq"`
	At      time.Time     `json:"at"`
	Subject string        `json:"subject"`
	Code    string        `json:"code"`
	Reason  string        `json:"reason"`
	User    bridge.UserID `json:"userId,omitempty"` // when it could be read
	Bytes   int           `json:"bytes"`
	Offset  bridge.Offset `json:"offset,omitzero"`
}

// Service answers operators for the whole cluster. Safe for concurrent use.
type Service struct {
	deps    Deps
	log     *slog.Logger
	started time.Time
	series  *series
	sockets *sio.Server // of consoles
	state   atomic.Pointer[NodeState]
	seen    atomic.Pointer[probe]
}

// probe is the last state of the store, the nodes and the checks, which may take long to query.
type probe struct {
	nodes   []bridge.NodeID // with a valid lease
	store   StoreState
	reasons map[string]string
}

// New makes a Service and adds its routes to the server, which must not serve yet.
// [Service.Run] updates its state.
func New(deps Deps, log *slog.Logger) *Service {
	sv := &Service{deps: deps, log: log.With("component", "ops"), started: time.Now(), series: newSeries()}
	sv.seen.Store(&probe{nodes: []bridge.NodeID{deps.Node}, store: StoreState{Kind: deps.StoreKind}, reasons: map[string]string{"process": "starting"}})
	sv.state.Store(sv.measure(nil))
	sv.serve()
	sv.serveConsole()
	return sv
}

// gatherLimit is how long nodes have to answer.
const gatherLimit = 500 * time.Millisecond

// Kinds of queries and messages between nodes.
const (
	queryState  = "state"
	querySeries = "series"
	querySample = "sample"
	queryUsers  = "users"
	queryUser   = "user"
	tellWatch   = "watch" // rows are wanted
	tellRows    = "rows"
)

// Answer answers a query of a node, also of this one. The answer is bounded in size and does not
// wait. Nil: the query is not understood, or it is a message without an answer.
func (sv *Service) Answer(kind string, body []byte) []byte {
	var answer any
	switch kind {
	case queryState:
		answer = sv.state.Load()
	case querySeries:
		answer = answerTo(body, func(q seriesQuestion) any { return sv.series.read(q.Seconds) })
	case querySample:
		if s := sv.series.newestSample(); s != nil {
			answer = s
		}
	case queryUsers:
		answer = answerTo(body, func(q usersQuestion) any { return sv.usersHere(q) })
	case queryUser:
		answer = answerTo(body, func(q userQuestion) any { return sv.userHere(q) })
	case tellWatch:
		sv.deps.Feed.watched(body)
	case tellRows:
		sv.deps.Feed.arrived(body)
	}
	if answer == nil {
		return nil
	}
	data, err := json.Marshal(answer)
	if err != nil {
		sv.log.LogAttrs(context.Background(), slog.LevelError, "answer not encoded", slog.String("kind", kind), slog.Any("err", err))
		return nil
	}
	return data
}

func answerTo[Q any](body []byte, answer func(Q) any) any {
	var q Q
	if json.Unmarshal(body, &q) != nil {
		return nil // a query of another version
	}
	return answer(q)
}

// gather queries every live node and returns the answers, and the nodes that did not answer.
func gather[A any](ctx context.Context, sv *Service, kind string, question any) (answers map[bridge.NodeID]A, missing []bridge.NodeID) {
	ctx, cancel := context.WithTimeout(ctx, gatherLimit)
	defer cancel()
	body, err := json.Marshal(question)
	if err != nil {
		panic(err) // our own queries always encode
	}
	nodes := sv.seen.Load().nodes
	answers = make(map[bridge.NodeID]A, len(nodes))
	for node, data := range sv.deps.QueryNodes(ctx, nodes, kind, body) {
		var a A
		if err := json.Unmarshal(data, &a); err != nil {
			sv.log.LogAttrs(ctx, slog.LevelDebug, "answer not understood", slog.String("from", string(node)), slog.Any("err", err))
			continue
		}
		answers[node] = a
	}
	missing = []bridge.NodeID{} // in JSON a list, also when it is empty
	for _, node := range nodes {
		if _, ok := answers[node]; !ok {
			missing = append(missing, node)
		}
	}
	return answers, missing
}

// ids are the nodes that answered, in order.
func ids[A any](answers map[bridge.NodeID]A) []bridge.NodeID {
	return slices.Sorted(maps.Keys(answers))
}
