package admin

import (
	"maps"
	"slices"
	"sync"

	"github.com/codewar/socketbridge/gateway/sio"
)

// consoles are the consoles that are connected to this node. The zero value has none. Safe for
// concurrent use.
type consoles struct {
	mu   sync.Mutex // guards all below
	open map[*sio.Socket]*watcher
}

// watcher is one console.
type watcher struct {
	filter  *filter // nil: it does not watch
	rows    []row   // to be sent
	skipped int
}

func (c *consoles) add(s *sio.Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = make(map[*sio.Socket]*watcher)
	}
	c.open[s] = new(watcher)
}

func (c *consoles) remove(s *sio.Socket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, s)
}

// watch sets a console's filter.
func (c *consoles) watch(s *sio.Socket, f *filter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if page := c.open[s]; page != nil {
		*page = watcher{filter: f}
	}
}

// filters returns the consoles' filters, each once.
func (c *consoles) filters() []filter {
	c.mu.Lock()
	defer c.mu.Unlock()
	wanted := make(map[filter]struct{})
	for _, page := range c.open {
		if page.filter != nil {
			wanted[*page.filter] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(wanted))
}

// take queues rows for the consoles with their filter.
func (c *consoles) take(r rows) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, page := range c.open {
		if page.filter == nil || *page.filter != r.Filter {
			continue
		}
		room := min(feedRows-len(page.rows), len(r.Rows))
		page.rows = append(page.rows, r.Rows[:room]...)
		page.skipped += r.Skipped + len(r.Rows) - room
	}
}

// tailEvent is sent to a console that watches.
type tailEvent struct {
	Rows    []row `json:"rows"`
	Skipped int   `json:"skipped"`
}

// flush sends each console its rows.
func (c *consoles) flush() {
	c.mu.Lock()
	out := make(map[*sio.Socket]tailEvent)
	for s, page := range c.open {
		if len(page.rows) > 0 {
			out[s] = tailEvent{page.rows, page.skipped}
			page.rows, page.skipped = nil, 0
		}
	}
	c.mu.Unlock()
	for s, e := range out {
		_ = s.Emit("tail", e) // a page that has left needs none
	}
}

// all returns the connected consoles.
func (c *consoles) all() []*sio.Socket {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.open))
}
