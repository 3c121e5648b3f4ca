package admin

import (
	"context"
	"encoding/json"
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

// filter says which messages somebody wants to see. Empty fields let everything
// through; a topic may end in "*".
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
	Took    float64        `json:"tookMs"` // from when the router was given it
	Node    bridge.NodeID  `json:"node"`   // who routed it
	Code    string         `json:"code"`
}

// interest is what one node's consoles want to see of one filter.
type interest struct {
	node   bridge.NodeID
	filter filter

	mu      sync.Mutex // guards all below
	until   time.Time
	rows    []row
	skipped int
}

// Feed is told of every message that is settled. It counts topics and, while an
// operator watches, shows the messages; when nobody does, that costs one atomic load.
type Feed struct {
	node   bridge.NodeID
	topics *topics

	interests atomic.Pointer[[]*interest] // nil: nobody watches; replaced under mu
	mu        sync.Mutex

	consoles consoles
}

// NewFeed makes the feed of a node.
func NewFeed(node bridge.NodeID) *Feed {
	return &Feed{node: node, topics: newTopics()}
}

// Settled is for [bridge.Routes].
func (f *Feed) Settled(s bridge.Settlement) {
	if s.Topic == bridge.CanaryTopic && bridge.ReservedUser(s.User) {
		return // ours, and no news
	}
	if s.Outcome != bridge.Dead { // whose topic may be anything
		f.topics.count(s.Topic)
	}
	if watched := f.interests.Load(); watched != nil {
		f.show(*watched, &s)
	}
}

func (f *Feed) show(watched []*interest, s *bridge.Settlement) {
	const longest = 256 // of a topic: a dead message's may be longer than is allowed
	for _, i := range watched {
		if !i.filter.match(s) {
			continue
		}
		i.mu.Lock()
		if len(i.rows) < feedRows {
			now := time.Now()
			i.rows = append(i.rows, row{
				moment(now), s.Offset, s.User, s.Topic[:min(len(s.Topic), longest)], s.Outcome, s.Sockets,
				short(millis(now.Sub(s.Read))), f.node, s.Code,
			})
		} else {
			i.skipped++
		}
		i.mu.Unlock()
	}
}

// watch is what a node says each second while its consoles watch.
type watch struct {
	Node    bridge.NodeID `json:"node"`
	Filters []filter      `json:"filters"`
}

// watched takes a node's interests, until they lapse.
func (f *Feed) watched(body []byte) {
	var w watch
	if json.Unmarshal(body, &w) != nil || !bridge.ValidNodeID(string(w.Node)) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*interest
	if now := f.interests.Load(); now != nil {
		list = append(list, *now...)
	}
	until := time.Now().Add(watchLapse)
next:
	for _, wanted := range w.Filters {
		for _, i := range list {
			if i.node == w.Node && i.filter == wanted {
				i.mu.Lock()
				i.until = until
				i.mu.Unlock()
				continue next
			}
		}
		if len(list) < maxInterests {
			list = append(list, &interest{node: w.Node, filter: wanted, until: until})
		}
	}
	if len(list) > 0 {
		f.interests.Store(&list)
	}
}

// rows is what a node is sent that watches.
type rows struct {
	Filter  filter `json:"filter"`
	Rows    []row  `json:"rows"`
	Skipped int    `json:"skipped"`
}

// ship sends what was collected to those who watch, and forgets who no longer does.
func (f *Feed) ship(tell func(bridge.NodeID, string, []byte)) {
	watched := f.interests.Load()
	if watched == nil {
		return
	}
	now := time.Now()
	lapsed := false
	for _, i := range *watched {
		i.mu.Lock()
		out := rows{i.filter, i.rows, i.skipped}
		i.rows, i.skipped = nil, 0
		lapsed = lapsed || now.After(i.until)
		i.mu.Unlock()
		if len(out.Rows) == 0 {
			continue
		}
		if body, err := json.Marshal(out); err == nil {
			tell(i.node, tellRows, body)
		}
	}
	if lapsed {
		f.forget(now)
	}
}

func (f *Feed) forget(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []*interest
	for _, i := range *f.interests.Load() {
		i.mu.Lock()
		if !now.After(i.until) {
			list = append(list, i)
		}
		i.mu.Unlock()
	}
	if len(list) == 0 {
		f.interests.Store(nil)
		return
	}
	f.interests.Store(&list)
}

// arrived takes rows that this node's consoles wanted.
func (f *Feed) arrived(body []byte) {
	var r rows
	if json.Unmarshal(body, &r) == nil {
		f.consoles.take(r)
	}
}

// run ships rows, renews interests and feeds consoles until ctx ends.
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

// renew tells every node what this node's consoles want to see.
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
