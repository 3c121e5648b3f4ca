package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// memoryMoves make the bridge keep something: decoded values, connections, sessions,
// bodies, histories.
var memoryMoves = []move{
	{"inflated CONNECT", func(ctx context.Context, p *peer) error {
		return p.notJoined(ctx, `40{"a":[`+numbers(450_000)+`]}`)
	}},
	{"large token", func(ctx context.Context, p *peer) error {
		return p.guarded().notJoined(ctx, `40{"token":"`+strings.Repeat("e", 900_000)+`"}`)
	}},
	{"inflated events", func(ctx context.Context, p *peer) error {
		packets := []string{`42["getConnectionId",`, `42["unknown",`, `431[`, `42["setUserId","memory",`, `420["refreshToken",`}
		text := packets[rand.IntN(len(packets))] + numbers(450_000) + `]`
		ws, leave, err := p.deflating(ctx)
		if err != nil {
			return err
		}
		defer leave()
		for range 8 {
			if say(ws, text) != nil {
				break
			}
		}
		wait(ctx, 2*time.Second)
		return nil
	}},
	{"long event name", func(ctx context.Context, p *peer) error {
		ws, leave, err := p.deflating(ctx)
		if err != nil {
			return err
		}
		defer leave()
		_ = say(ws, `42["`+strings.Repeat("x", 900_000)+`"]`)
		wait(ctx, time.Second)
		return nil
	}},
	{"idle keep-alive", func(ctx context.Context, p *peer) error {
		nc, leave, err := p.dial(ctx)
		if err != nil {
			return err
		}
		defer leave()
		if _, err := io.WriteString(nc, "GET /livez HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: "+p.from+"\r\n\r\n"); err != nil {
			return errBusy
		}
		res, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			return errBusy // a limit on connections
		}
		_ = res.Body.Close()
		wait(ctx, 10*time.Second)
		return statusOf(res, http.StatusOK)
	}},
	{"many sessions", func(ctx context.Context, p *peer) error {
		for range 20 {
			ws, leave, err := p.joined(ctx)
			if err != nil {
				return err
			}
			if err = say(ws, `420["setUserId","sessions"]`); err == nil {
				_, err = expect(ws, "430")
			}
			leave() // without a word: the session waits for it
			if err != nil {
				return err
			}
		}
		return nil
	}},
	{"large histories", func(ctx context.Context, p *peer) error {
		body := fmt.Sprintf(`{"userId":"history-%d","topic":"note","text":"%s"}`, rand.IntN(1000), strings.Repeat("h", 300_000))
		return p.request(ctx, http.MethodPost, "/sendPayload?queue=true", strings.NewReader(body), http.StatusAccepted, http.StatusOK, http.StatusServiceUnavailable)
	}},
	{"slow large posts", func(ctx context.Context, p *peer) error {
		nc, leave, err := p.dial(ctx)
		if err != nil {
			return err
		}
		defer leave()
		text := "POST /sendPayload HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " + p.from + "\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
		if _, err := io.WriteString(nc, text+strings.Repeat(" ", 990_000)); err != nil {
			return errBusy
		}
		wait(ctx, 5*time.Second)
		return nil
	}},
}

// numbers is a list of n numbers: two bytes each on the wire, less when deflated, many
// more when each is decoded to a value of its own.
func numbers(n int) string { return strings.TrimSuffix(strings.Repeat("1,", n), ",") }

// deflating is joined over a websocket that compresses what it sends.
func (p *peer) deflating(ctx context.Context) (*websocket.Conn, func(), error) {
	q := *p
	q.dialer = &websocket.Dialer{EnableCompression: true, HandshakeTimeout: patience}
	return q.joined(ctx)
}

// notJoined sends a CONNECT packet that must be refused.
func (p *peer) notJoined(ctx context.Context, connect string) error {
	q := *p
	q.dialer = &websocket.Dialer{EnableCompression: true, HandshakeTimeout: patience}
	ws, leave, err := q.websocket(ctx, "")
	if err != nil {
		return err
	}
	defer leave()
	if err := say(ws, connect); err != nil {
		return nil
	}
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	for {
		_, text, err := ws.ReadMessage()
		if err != nil || strings.HasPrefix(string(text), "44") {
			wait(ctx, 2*time.Second)
			return nil
		}
		if strings.HasPrefix(string(text), "40") {
			return fmt.Errorf("joined with %d bytes", len(connect))
		}
	}
}

// wait waits for that long, or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
