package subscriber

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// convoyFew is how many calls may be on their way, each on its own.
	convoyFew = 16
	// convoyLimit bounds how long a call waits for those before it, should their
	// receipts not come: there is no leader, or it is far behind.
	convoyLimit = 20 * time.Millisecond
)

// convoy has calls travel together when there are many. A message on its own wakes
// each process on its way, which costs several times what it costs among others. So
// while convoyFew calls wait for their receipts, those that come gather, and
// leave together when most of those before them are back: in one write, and
// most likely in one batch all the way. Below that no call waits for another.
//
// Safe for concurrent use. Calls of the same user that are made one after the other
// stay in order; those at the same time have none.
type convoy struct {
	publish func(*nats.Msg) error // may wait for the network

	mu      sync.Mutex // guards all below, and the place of each call; not held while publishing
	out     int        // on their way
	waiting []*ask
	late    *time.Timer // sends the calls that wait; stopped while none does
}

// convoyPlace is where a call is in its convoy.
type convoyPlace int

const (
	outside convoyPlace = iota // not come yet, or left
	waits
	underWay
)

func newConvoy(publish func(*nats.Msg) error) *convoy {
	v := &convoy{publish: publish}
	v.late = time.AfterFunc(time.Hour, v.hurry)
	v.late.Stop()
	return v
}

// join publishes a call, now or in a moment. What goes wrong is its answer.
func (v *convoy) join(c *ask) {
	v.mu.Lock()
	if v.out >= convoyFew {
		if v.waiting = append(v.waiting, c); len(v.waiting) == 1 {
			v.late.Reset(convoyLimit)
		}
		c.place = waits
		v.mu.Unlock()
		return
	}
	v.out++
	c.place = underWay
	v.mu.Unlock()
	v.send(c)
}

// end takes a call out, whether it was published or not, and sends the calls that wait
// when there is room for them.
func (v *convoy) end(c *ask) {
	v.mu.Lock()
	v.vacate(c)
	gathered := v.gathered(convoyFew)
	v.mu.Unlock()
	v.sendAll(gathered)
}

// leave makes a call's place free before its end. It publishes nothing, so it never
// waits.
func (v *convoy) leave(c *ask) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.vacate(c)
}

// vacate is called with mu held.
func (v *convoy) vacate(c *ask) {
	switch c.place {
	case outside: // it has left already
	case underWay:
		v.out--
	case waits:
		v.waiting = slices.DeleteFunc(v.waiting, func(other *ask) bool { return other == c })
	}
	c.place = outside
}

// hurry sends the calls that have waited for too long.
func (v *convoy) hurry() {
	v.mu.Lock()
	gathered := v.gathered(math.MaxInt)
	v.mu.Unlock()
	v.sendAll(gathered)
}

// gathered returns the calls that wait, when less than that many are on their way, which
// they then are too. Called with mu held.
func (v *convoy) gathered(below int) []*ask {
	if v.out >= below || len(v.waiting) == 0 {
		return nil
	}
	gathered := v.waiting
	v.waiting = make([]*ask, 0, len(gathered))
	v.out += len(gathered)
	for _, c := range gathered {
		c.place = underWay
	}
	v.late.Stop()
	return gathered
}

func (v *convoy) sendAll(calls []*ask) {
	for _, c := range calls {
		v.send(c)
	}
}

func (v *convoy) send(c *ask) {
	if err := v.publish(c.Msg); err != nil {
		c.take(ending{err: err})
	}
}
