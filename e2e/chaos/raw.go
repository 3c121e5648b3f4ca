package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// rawPage is a page without the stock client: the least of Engine.IO and
// Socket.IO that resumes with pid and offset.
type rawPage struct {
	record
	addr string
	user string

	sleepUntil  atomic.Int64 // ns since 1970; until then it does not read
	pid, offset string       // owned by run
	failure     atomic.Pointer[error]
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
	for ctx.Err() == nil {
		if err := p.connect(ctx); errors.Is(err, errStrange) {
			p.failure.CompareAndSwap(nil, &err)
		}
		select {
		case <-time.After(50*time.Millisecond + rand.N(200*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

// errStrange means that the bridge has said something that it must not say.
var errStrange = errors.New("against the protocol")

// connect is one connection, from its start to its end.
func (p *rawPage) connect(ctx context.Context) error {
	ws, res, err := dialer.DialContext(ctx, "ws://"+p.addr+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	defer func() { _ = ws.Close() }()
	defer context.AfterFunc(ctx, func() { _ = ws.Close() })()
	for {
		p.sleep(ctx)
		_ = ws.SetReadDeadline(time.Now().Add(90 * time.Second)) // ping interval and time-out
		_, packet, err := ws.ReadMessage()
		if err != nil {
			return err
		}
		answer, err := p.take(packet)
		if err != nil || answer == nil {
			if err != nil {
				return err
			}
			continue
		}
		if err := ws.WriteMessage(websocket.TextMessage, answer); err != nil {
			return err
		}
	}
}

// errLeft means that the server has ended the socket or refused it.
var errLeft = errors.New("socket ended by the server")

// take handles one packet and returns what to answer, if anything.
func (p *rawPage) take(packet []byte) (answer []byte, err error) {
	switch {
	case bytes.HasPrefix(packet, []byte("0")): // open
		return p.join(), nil
	case string(packet) == "2": // ping
		return []byte("3"), nil
	case bytes.HasPrefix(packet, []byte("40")): // connected
		var ids struct{ Pid string }
		if err := json.Unmarshal(packet[2:], &ids); err != nil {
			return nil, fmt.Errorf("%w: %s", errStrange, packet)
		}
		p.connected(p.pid != "" && p.pid == ids.Pid)
		p.pid = ids.Pid
		return fmt.Appendf(nil, `420["setUserId",%q]`, p.user), nil
	case bytes.HasPrefix(packet, []byte("42")): // event
		return nil, p.eventPacket(packet[2:])
	case bytes.HasPrefix(packet, []byte("430")): // acknowledgement
		var args []struct{ OK bool }
		if err := json.Unmarshal(packet[3:], &args); err != nil || len(args) != 1 || !args[0].OK {
			return nil, fmt.Errorf("%w: setUserId answered %s", errStrange, packet)
		}
		p.mapped()
		return nil, nil
	case bytes.HasPrefix(packet, []byte("41")), bytes.HasPrefix(packet, []byte("44")), string(packet) == "1":
		return nil, errLeft
	case string(packet) == "6": // noop
		return nil, nil
	}
	return nil, fmt.Errorf("%w: %.100q", errStrange, packet)
}

// join asks to enter the namespace, and to resume what there was.
func (p *rawPage) join() []byte {
	auth := map[string]any{"resume": true}
	if p.pid != "" {
		auth["pid"], auth["offset"] = p.pid, p.offset
	}
	b, _ := json.Marshal(auth) // strings always encode
	return append([]byte("40"), b...)
}

func (p *rawPage) eventPacket(text []byte) error {
	var args []json.RawMessage
	if err := json.Unmarshal(text, &args); err != nil {
		return fmt.Errorf("%w: %.100q", errStrange, text)
	}
	if err := p.event(args); err != nil {
		return fmt.Errorf("%w: %w", errStrange, err)
	}
	var offset string
	if last := args[len(args)-1]; json.Unmarshal(last, &offset) == nil {
		p.offset = offset // as the stock client: the last argument, when it is a text
	}
	return nil
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
