package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/codewar/socketbridge/internal/sioclient"
)

// rawPage is a page without the stock client, which resumes with pid and offset
// all the same.
type rawPage struct {
	record
	addr string
	user string

	sleepUntil atomic.Int64      // ns since 1970; until then it does not read
	session    sioclient.Session // owned by run
	failure    atomic.Pointer[error]
}

var dialer = websocket.Dialer{
	HandshakeTimeout: 5 * time.Second,
	NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			_ = c.(*net.TCPConn).SetReadBuffer(buffered) // one that does not read is felt soon
		}
		return c, err
	},
}

// run keeps the page connected until ctx ends.
func (p *rawPage) run(ctx context.Context) {
	p.opened()
	for ctx.Err() == nil {
		if err := p.connect(ctx); errors.Is(err, sioclient.ErrProtocol) {
			p.failure.CompareAndSwap(nil, &err)
		}
		select {
		case <-time.After(50*time.Millisecond + rand.N(200*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

// connect is one connection, from its start to its end.
func (p *rawPage) connect(ctx context.Context) error {
	c, err := sioclient.Dial(ctx, sioclient.Options{URL: "http://" + p.addr, Dialer: &dialer, Session: p.session})
	if err != nil {
		return err
	}
	defer c.Close()
	defer func() { p.session = c.Session() }()
	p.connected(c.Recovered())
	defer p.gone()
	if err := c.SetUser(p.user, p.mapped); err != nil {
		return err
	}
	for {
		p.sleep(ctx)
		e, err := c.Read()
		if _, refused := errors.AsType[*sioclient.RefusedError](err); refused {
			return fmt.Errorf("%w: setUserId answered %w", sioclient.ErrProtocol, err)
		}
		if err != nil {
			return err
		}
		if err := p.event(e.Name, e.Args, e.Wanted()); err != nil {
			return fmt.Errorf("%w: %w", sioclient.ErrProtocol, err)
		}
		if err := c.Confirm(e); err != nil {
			return err
		}
	}
}

// sleep waits while the page is not to read.
func (p *rawPage) sleep(ctx context.Context) {
	for {
		wait := time.Until(time.Unix(0, p.sleepUntil.Load()))
		if wait <= 0 {
			return
		}
		select {
		case <-time.After(min(wait, 100*time.Millisecond)):
		case <-ctx.Done():
			return
		}
	}
}

// doze has the page stop reading for a while.
func (p *rawPage) doze(d time.Duration) {
	p.mu.Lock()
	p.report.idle = true
	p.mu.Unlock()
	p.sleepUntil.Store(time.Now().Add(d).UnixNano())
}
