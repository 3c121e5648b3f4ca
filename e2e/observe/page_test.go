package observe

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/codewar/socketbridge/internal/sioclient"
)

// page is a browser's page that comes back, and resumes, for as long as ctx lives.
type page struct {
	addr, user string
	deaf       bool // it reads nothing once it has named its user

	mu      sync.Mutex // guards conn
	conn    *sioclient.Conn
	session sioclient.Session // owned by run
}

var dialer = websocket.Dialer{
	HandshakeTimeout: 5 * time.Second,
	TLSClientConfig:  &tls.Config{InsecureSkipVerify: true}, // #nosec G402 -- its certificate is the test's own
	NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			_ = c.(*net.TCPConn).SetReadBuffer(16 << 10) // one that does not read is felt soon
		}
		return c, err
	},
}

func (p *page) run(ctx context.Context) {
	for ctx.Err() == nil {
		p.connect(ctx)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// kick cuts the connection, as a network that fails.
func (p *page) kick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil {
		p.conn.Close()
	}
}

// connect is one connection, to its end. The bridges are killed, so no error is news.
func (p *page) connect(ctx context.Context) {
	c, err := sioclient.Dial(ctx, sioclient.Options{URL: "ws://" + p.addr, Dialer: &dialer, Session: p.session})
	if err != nil {
		return
	}
	defer c.Close()
	p.mu.Lock()
	p.conn = c
	p.mu.Unlock()
	mapped := false
	if c.SetUser(p.user, func() { mapped = true }) != nil {
		return
	}
	for {
		if _, err := c.Read(); err != nil {
			return
		}
		p.session = c.Session()
		if p.deaf && mapped {
			<-ctx.Done()
			return
		}
	}
}
