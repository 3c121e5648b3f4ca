package admin

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// Limits of the live tail.
const (
	feedEvery  = 250 * time.Millisecond // between two events to a console
	feedRows   = 200                    // rows of one event
	watchEvery = time.Second            // how often an interest is renewed
	watchLapse = 3 * time.Second        // and how long it lasts without
	// maxInterests bounds what watching may cost the node that leads.
	maxInterests = 64
)

// filter selects messages. An empty field selects all; a topic may end in "*".
type filter struct {
	User    bridge.UserID  `json:"user,omitempty"`
	Topic   string         `json:"topic,omitempty"`
	Outcome bridge.Outcome `json:"outcome,omitempty"`
}

func (f filter) match(s *bridge.Settlement) bool {
	if f.User != "" && f.User != s.User || f.Outcome != "" && f.Outcome != s.Outcome {
		return false
	}
	if prefix, ok := strings.CutSuffix(f.Topic, "*"); ok {
		return strings.HasPrefix(s.Topic, prefix)
	}
	return f.Topic == "" || f.Topic == s.Topic
}

// row is one message of the live tail.
type row struct {
	At      time.Time      `json:"at"`
	Offset  bridge.Offset  `json:"offset"`
	User    bridge.UserID  `json:"userId"`
	Topic   string         `json:"topic"`
	Outcome bridge.Outcome `json:"outcome"`
	Sockets int            `json:"sockets"`
	Took    float64        `json:"tookMs"` // since the router was given it
	Node    bridge.NodeID  `json:"node"`   // that routed it
	Code    string         `json:"code"`
}

// interest is a filter that consoles of a node watch with. Guarded by Feed.mu.
type interest struct {
	node    bridge.NodeID
	filter  filter
	until   time.Time
	rows    []row
	skipped int
}

// Feed is told the outcome of every message. It counts topics and, while an operator watches,
// collects rows for the live tail. Without a viewer that costs one atomic load.
// Safe for concurrent use.
type Feed struct {
	node     bridge.NodeID
	topics   topics
	consoles consoles

	watching  atomic.Bool // there are interests
	mu        sync.Mutex
	interests []*interest
}

// NewFeed makes the feed of a node.
func NewFeed(node bridge.NodeID) *Feed { return &Feed{node: node} }

// Settled is for [bridge.RouterConfig].
func (f *Feed) Settled(s bridge.Settlement) {
	if s.Topic == bridge.CanaryTopic && bridge.ReservedUser(s.User) {
		return
	}
	if s.Outcome != bridge.Dead { // its topic may be any text
		f.topics.count(s.Topic)
	}
	if f.watching.Load() {
		f.collect(&s)
	}
}

func (f *Feed) collect(s *bridge.Settlement) {
	const longest = 256 // bytes of a topic: that of a dead message may be longer than is allowed
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.interests {
		switch {
		case !i.filter.match(s):
		case len(i.rows) == feedRows:
			i.skipped++
		default:
			now := time.Now()
			i.rows = append(i.rows, row{
				moment(now), s.Offset, s.User, s.Topic[:min(len(s.Topic), longest)], s.Outcome, s.Sockets,
				short(millis(now.Sub(s.Read))), f.node, s.Code,
			})
		}
	}
}

// watch is what a node sends each second while its consoles watch.
type watch struct {
	Node    bridge.NodeID `json:"node"`
	Filters []filter      `json:"filters"`
}

// watched takes a node's interests, until they expire.
func (f *Feed) watched(body []byte) {
	var w watch
	if json.Unmarshal(body, &w) != nil || !bridge.ValidNodeID(string(w.Node)) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, wanted := range w.Filters {
		n := slices.IndexFunc(f.interests, func(i *interest) bool { return i.node == w.Node && i.filter == wanted })
		if n < 0 {
			if n = len(f.interests); n == maxInterests {
				continue
			}
			f.interests = append(f.interests, &interest{node: w.Node, filter: wanted})
		}
		f.interests[n].until = time.Now().Add(watchLapse)
	}
	f.watching.Store(len(f.interests) > 0)
}

// rows is what a node that watches is sent.
type rows struct {
	Filter  filter `json:"filter"`
	Rows    []row  `json:"rows"`
	Skipped int    `json:"skipped"`
}

// ship sends the collected rows to the nodes that watch, and drops expired interests.
func (f *Feed) ship(tell func(bridge.NodeID, string, []byte)) {
	if !f.watching.Load() {
		return
	}
	type shipment struct {
		to   bridge.NodeID
		rows rows
	}
	var out []shipment
	now := time.Now()
	f.mu.Lock()
	for _, i := range f.interests {
		if len(i.rows) > 0 {
			out = append(out, shipment{i.node, rows{i.filter, i.rows, i.skipped}})
		}
		i.rows, i.skipped = nil, 0
	}
	f.interests = slices.DeleteFunc(f.interests, func(i *interest) bool { return now.After(i.until) })
	f.watching.Store(len(f.interests) > 0)
	f.mu.Unlock()
	for _, s := range out {
		if body, err := json.Marshal(s.rows); err == nil {
			tell(s.to, tellRows, body)
		}
	}
}

// arrived takes rows for this node's consoles.
func (f *Feed) arrived(body []byte) {
	var r rows
	if json.Unmarshal(body, &r) == nil {
		f.consoles.take(r)
	}
}

// run ships rows, renews interests and sends rows to consoles until ctx ends.
func (f *Feed) run(ctx context.Context, sv *Service) {
	tick := time.NewTicker(feedEvery)
	defer tick.Stop()
	var renewed time.Time
	for {
		f.ship(sv.deps.Tell)
		f.consoles.flush()
		if now := time.Now(); now.Sub(renewed) >= watchEvery {
			renewed = now
			f.renew(sv)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// renew tells every node the filters of this node's consoles.
func (f *Feed) renew(sv *Service) {
	filters := f.consoles.filters()
	if len(filters) == 0 {
		return
	}
	body, err := json.Marshal(watch{f.node, filters})
	if err != nil {
		panic(err) // our own filters encode
	}
	for _, node := range sv.seen.Load().nodes {
		sv.deps.Tell(node, tellWatch, body)
	}
}
