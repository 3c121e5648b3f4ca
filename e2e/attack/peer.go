package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// errBusy means that a limit has refused the try before it could begin.
var errBusy = errors.New("refused by a limit")

// patience is how long the bridge may take to answer or to hang up: longer than any
// of its own limits for a request.
const patience = 45 * time.Second

// peer is one hostile client, with an address of its own.
type peer struct {
	target
	addr   string // the bridge it attacks: the open one unless it says otherwise
	from   string // for X-Forwarded-For
	client *http.Client
	dialer *websocket.Dialer // nil: the library's default
}

// guarded is the same peer at the bridge that asks for tokens.
func (p *peer) guarded() *peer {
	q := *p
	q.addr = p.Guarded
	return &q
}

// dial opens a network connection that ends with ctx.
func (p *peer) dial(ctx context.Context) (net.Conn, func(), error) {
	nc, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, nil, errBusy
	}
	_ = nc.SetDeadline(time.Now().Add(patience))
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	return nc, func() { stop(); _ = nc.Close() }, nil
}

// websocket opens one, with more in the query.
func (p *peer) websocket(ctx context.Context, query string) (*websocket.Conn, func(), error) {
	header := http.Header{"X-Forwarded-For": {p.from}}
	dialer := p.dialer
	if dialer == nil {
		dialer = websocket.DefaultDialer
	}
	ws, res, err := dialer.DialContext(ctx, "ws://"+p.addr+"/socket.io/?EIO=4&transport=websocket"+query, header)
	switch {
	case err == nil:
	case res == nil || res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable:
		return nil, nil, errBusy
	default:
		return nil, nil, fmt.Errorf("websocket answered %s", res.Status)
	}
	stop := context.AfterFunc(ctx, func() { _ = ws.Close() })
	return ws, func() { stop(); _ = ws.Close() }, nil
}

// joined opens a websocket that has joined the namespace.
func (p *peer) joined(ctx context.Context) (*websocket.Conn, func(), error) {
	ws, leave, err := p.websocket(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	if err = say(ws, "40"); err == nil {
		_, err = expect(ws, "40{")
	}
	if err != nil {
		leave()
		return nil, nil, err
	}
	return ws, leave, nil
}

func say(ws *websocket.Conn, texts ...string) error {
	for _, text := range texts {
		if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			return errBusy // it has hung up on what came before
		}
	}
	return nil
}

// expect reads until a packet begins so.
func expect(ws *websocket.Conn, prefix string) (string, error) {
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	for {
		_, text, err := ws.ReadMessage()
		if err != nil {
			return "", fmt.Errorf("no %q: %w", prefix, err)
		}
		if strings.HasPrefix(string(text), prefix) {
			return string(text), nil
		}
	}
}

// hangsUp reads until the bridge closes, which it must.
func hangsUp(r io.Reader) error {
	if _, err := io.Copy(io.Discard, r); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("is still connected")
	}
	return nil
}

// wsHangsUp does the same with a websocket.
func wsHangsUp(ws *websocket.Conn) error {
	nc := ws.NetConn()
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	return hangsUp(nc)
}

// talk writes text on a connection of its own and wants an answer of one of these
// statuses, or, without any, that the bridge hangs up.
func (p *peer) talk(ctx context.Context, text string, want ...int) error {
	nc, leave, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if _, err := io.WriteString(nc, text); err != nil {
		return nil // it has hung up already
	}
	if len(want) == 0 {
		return hangsUp(nc)
	}
	res, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	return statusOf(res, want...)
}

// post calls /sendPayload.
func (p *peer) post(ctx context.Context, body io.Reader, want ...int) error {
	return p.request(ctx, http.MethodPost, "/sendPayload", body, want...)
}

func (p *peer) request(ctx context.Context, method, target string, body io.Reader, want ...int) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.addr+target, body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("X-Forwarded-For", p.from)
	req.Header.Set("Content-Type", "application/json")
	res, err := p.client.Do(req)
	if err != nil {
		return errBusy // cut off while sending: that is an answer too
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	return statusOf(res, want...)
}

func statusOf(res *http.Response, want ...int) error {
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "" {
		return errBusy
	}
	if slices.Contains(want, res.StatusCode) {
		return nil
	}
	return fmt.Errorf("answered %s, want %v", res.Status, want)
}
