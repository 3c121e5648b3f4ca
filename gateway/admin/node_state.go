package admin

import (
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// NodeState is one node at one moment, at most a second old.
type NodeState struct {
	ID         bridge.NodeID     `json:"id"`
	Version    string            `json:"version"`
	StartedAt  time.Time         `json:"startedAt"`
	Leader     bool              `json:"leader"`
	Ready      bool              `json:"ready"`
	Reasons    map[string]string `json:"reasons"` // why it is not ready
	Sockets    int               `json:"sockets"`
	Users      int               `json:"users"`
	Conns      Connections       `json:"connections"`
	Goroutines int               `json:"goroutines"`
	RSS        uint64            `json:"rssBytes"`
	NATS       NATS              `json:"nats"`
	Store      StoreState        `json:"store"`
	Canary     *Canary           `json:"canary"` // null: there is none
	Counters   Counters          `json:"counters"`
	Push       Push              `json:"push"`
}

// Connections counts the connections of a node by transport.
type Connections struct {
	Websocket int `json:"websocket"`
	Polling   int `json:"polling"`
}

// NATS is what a node sees of NATS and the stream.
type NATS struct {
	Connected bool    `json:"connected"`
	URL       string  `json:"url"` // without credentials
	Embedded  bool    `json:"embedded"`
	RTTMillis float64 `json:"rttMs"`
	Messages  uint64  `json:"streamMessages"`
	Bytes     uint64  `json:"streamBytes"`
	First     uint64  `json:"firstSeq"`
	Last      uint64  `json:"lastSeq"`
	Epoch     uint64  `json:"epoch"`   // first half of the stream's offsets
	Read      uint64  `json:"readSeq"` // of the leader; 0 on other nodes
	Lag       uint64  `json:"lag"`     // likewise
}

// StoreState is how a node finds the store.
type StoreState struct {
	Kind       string  `json:"kind"` // "redis" or "memory"
	OK         bool    `json:"ok"`
	PingMillis float64 `json:"pingMs"` // of the last ping that was answered
	Error      string  `json:"error"`
}

// Canary is the last message that a node sent to itself through everything.
type Canary struct {
	AgeMillis  float64 `json:"ageMs"`
	OK         bool    `json:"ok"`
	LastMillis float64 `json:"lastMs"`
}

// Counters count since a node's start. What concerns messages of the stream is
// counted by the node that led when they were read.
type Counters struct {
	Received uint64                    `json:"received"`
	Outcomes map[bridge.Outcome]uint64 `json:"outcomes"`
	InFlight int64                     `json:"inFlight"`
	Took     uint64                    `json:"took"` // messages given to a socket here
	Seen     uint64                    `json:"seen"` // that a socket here had already
	Drops    map[string]uint64         `json:"drops"`
	Refusals map[string]uint64         `json:"refusals"`
	Topics   map[string]uint64         `json:"topics"` // at most 50 names; the rest as "other"
}

// Push is how long the messages of the last ten seconds took, from the stream to
// a socket of this node. Times are zero when there were none.
type Push struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50Ms"`
	P99   float64 `json:"p99Ms"`
	P999  float64 `json:"p999Ms"`
}

// millis is a duration as the API has it.
func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// moment is a time as the API has it: UTC, with milliseconds.
func moment(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
