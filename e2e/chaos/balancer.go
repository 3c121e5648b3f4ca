package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// balancer is what stands before the bridges: it takes each TCP connection to a
// random node that accepts it, and can cut what it carries. Unless it is told to ask
// for readiness it looks at nothing, so it is the dumbest one that a bridge must bear.
type balancer struct {
	listener net.Listener
	backends []string
	unready  []atomic.Bool  // by backend; all false while nobody asks
	shunned  []atomic.Bool  // by backend: none is sent there
	running  sync.WaitGroup // accept, ask and every pair

	mu       sync.Mutex // guards all below
	pairs    map[*pair]struct{}
	others   []net.Listener       // sticky ones
	cutAfter func() time.Duration // nil: connections are left alone
	closed   bool
}

// pair is a client's connection and the one to its node.
type pair struct {
	client, node *net.TCPConn
	cutter       *time.Timer // nil: none
}

// buffered is how many bytes the balancer lets the kernel hold for each side, so
// that a client that does not read is felt by the bridge soon.
const buffered = 64 << 10

func openBalancer(backends []string) (*balancer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open balancer: %w", err)
	}
	b := &balancer{listener: l, backends: backends, unready: make([]atomic.Bool, len(backends)), shunned: make([]atomic.Bool, len(backends)), pairs: make(map[*pair]struct{})}
	b.running.Go(func() { b.accept(l, nil) })
	return b, nil
}

// sticky opens another address, whose connections all go to one node for as long as that
// accepts them and is ready, as clients that poll need it.
func (b *balancer) sticky() (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("open balancer: %w", err)
	}
	b.mu.Lock()
	b.others = append(b.others, l)
	b.mu.Unlock()
	node := new(atomic.Int64)
	node.Store(rand.Int64N(int64(len(b.backends))))
	b.running.Go(func() { b.accept(l, node) })
	return l.Addr().String(), nil
}

func (b *balancer) addr() string { return b.listener.Addr().String() }

// accept takes connections until the listener is closed. Node is the one that they prefer,
// and is set to the one they got; nil: any.
func (b *balancer) accept(l net.Listener, node *atomic.Int64) {
	for {
		c, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				time.Sleep(10 * time.Millisecond) // out of descriptors, perhaps
				continue
			}
			return
		}
		b.running.Go(func() { b.carry(c.(*net.TCPConn), node) })
	}
}

// carry joins a client with a node until one of them goes.
func (b *balancer) carry(client *net.TCPConn, preferred *atomic.Int64) {
	node := b.dial(preferred)
	if node == nil {
		_ = client.Close()
		return
	}
	for _, c := range []*net.TCPConn{client, node} {
		_ = c.SetReadBuffer(buffered)
		_ = c.SetWriteBuffer(buffered)
	}
	p := &pair{client: client, node: node}
	if !b.add(p) {
		p.close()
		return
	}
	defer b.remove(p)
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(node, client)
		p.close()
	})
	_, _ = io.Copy(client, node)
	p.close()
	up.Wait()
}

// ask has the balancer look at each node's readiness, as often as that, until ctx ends.
func (b *balancer) ask(ctx context.Context, every time.Duration) {
	for i, addr := range b.backends {
		b.running.Go(func() {
			for tick := time.NewTicker(every); ; {
				status, _ := fetch(addr, "/readyz")
				b.unready[i].Store(status != http.StatusOK)
				select {
				case <-tick.C:
				case <-ctx.Done():
					tick.Stop()
					return
				}
			}
		})
	}
}

// dial connects to the preferred node, or a random one, or to another when that one does
// not accept. Those that are not ready come last.
func (b *balancer) dial(preferred *atomic.Int64) *net.TCPConn {
	order := rand.Perm(len(b.backends))
	rank := func(i int) int {
		switch {
		case b.shunned[i].Load():
			return 3
		case b.unready[i].Load():
			return 2
		case preferred != nil && preferred.Load() != int64(i):
			return 1
		}
		return 0
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(rank(i), rank(j)) })
	for _, i := range order {
		if c, err := net.DialTimeout("tcp", b.backends[i], time.Second); err == nil {
			if preferred != nil {
				preferred.Store(int64(i))
			}
			return c.(*net.TCPConn)
		}
	}
	return nil
}

func (p *pair) close() {
	_ = p.client.Close()
	_ = p.node.Close()
}

// cut ends a connection as networks do: with a reset or with an end.
func (p *pair) cut() {
	if rand.IntN(2) == 0 {
		_ = p.client.SetLinger(0)
		_ = p.node.SetLinger(0)
	}
	p.close()
}

func (b *balancer) add(p *pair) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.pairs[p] = struct{}{}
	b.arm(p)
	return true
}

// arm has the pair cut later, if that is wanted. Called with mu held.
func (b *balancer) arm(p *pair) {
	if b.cutAfter != nil {
		p.cutter = time.AfterFunc(b.cutAfter(), p.cut)
	}
}

func (b *balancer) remove(p *pair) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pairs, p)
	if p.cutter != nil {
		p.cutter.Stop()
	}
}

// cutEach cuts every connection, from now on, at a random age between the two.
// Two zeros leave new ones alone.
func (b *balancer) cutEach(from, to time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if to == 0 {
		b.cutAfter = nil
		return
	}
	b.cutAfter = func() time.Duration { return from + rand.N(to-from) }
	for p := range b.pairs {
		b.arm(p)
	}
}

// cutNow cuts about that part of the connections.
func (b *balancer) cutNow(part float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range b.pairs {
		if rand.Float64() < part {
			p.cut()
		}
	}
}

// shun sends a node's clients elsewhere, and nobody to it as long as others accept.
func (b *balancer) shun(addr string) {
	b.shunned[slices.Index(b.backends, addr)].Store(true)
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range b.pairs {
		if p.node.RemoteAddr().String() == addr {
			p.cut()
		}
	}
}

func (b *balancer) close() {
	_ = b.listener.Close()
	b.mu.Lock()
	b.closed = true
	for _, l := range b.others {
		_ = l.Close()
	}
	for p := range b.pairs {
		p.close()
	}
	b.mu.Unlock()
	b.running.Wait()
}
