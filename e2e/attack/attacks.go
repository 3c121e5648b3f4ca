package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// pause is the longest one before a try.
const pause = 4 * time.Second

// move is one thing that a hostile peer does. try fails when the bridge has not
// answered as it must.
type move struct {
	name string
	try  func(ctx context.Context, p *peer) error
}

// tried is the account of one move.
type tried struct {
	Name     string
	Tries    int
	Answered int // those that have ended and that no limit has refused
	Wrong    []string
}

// attack has so many connections do all moves, in turn, until ctx ends.
func attack(ctx context.Context, t target, connections int) []tried {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}, Timeout: patience}
	account := make([]tried, len(moves))
	var mu sync.Mutex // guards account
	var peers sync.WaitGroup
	for n := range connections {
		// Eight peers share an address, as in an office.
		p := &peer{target: t, addr: t.Open, from: fmt.Sprintf("203.0.113.%d", n/8), client: client}
		i := n % len(moves)
		peers.Go(func() {
			a := &account[i]
			for {
				select {
				case <-time.After(rand.N(pause)):
				case <-ctx.Done():
					return
				}
				mu.Lock()
				a.Tries++
				mu.Unlock()
				err := moves[i].try(ctx, p)
				if ctx.Err() != nil {
					return // cut in the middle by ourselves
				}
				mu.Lock()
				if !errors.Is(err, errBusy) {
					a.Answered++
				}
				if err != nil && !errors.Is(err, errBusy) && len(a.Wrong) < 5 {
					a.Wrong = append(a.Wrong, err.Error())
				}
				mu.Unlock()
			}
		})
	}
	peers.Wait()
	client.CloseIdleConnections()
	for i, m := range moves {
		account[i].Name = m.name
	}
	return account
}

// moves are all that hostile peers do.
var moves = slices.Concat(protocolMoves, memoryMoves, identityMoves, busMoves)

// protocolMoves break HTTP, Engine.IO and Socket.IO.
var protocolMoves = []move{
	{"half-open", func(ctx context.Context, p *peer) error { return p.talk(ctx, "") }},
	{"slow header", func(ctx context.Context, p *peer) error {
		return p.drip(ctx, "GET / HTTP/1.1\r\nHost: a\r\nX: ")
	}},
	{"slow body", func(ctx context.Context, p *peer) error {
		return p.talk(ctx, "POST /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{", http.StatusMethodNotAllowed)
	}},
	{"endless chunks", func(ctx context.Context, p *peer) error {
		return p.post(ctx, struct{ io.Reader }{endless{}}, http.StatusRequestEntityTooLarge)
	}},
	{"endless header", func(ctx context.Context, p *peer) error {
		return p.talk(ctx, "GET / HTTP/1.1\r\nHost: a\r\nX: "+strings.Repeat("x", 100_000)+"\r\n\r\n", http.StatusRequestHeaderFieldsTooLarge)
	}},
	{"never joins", func(ctx context.Context, p *peer) error {
		return p.holds(ctx, "", 5*time.Second)
	}},
	{"never reads", func(ctx context.Context, p *peer) error {
		return p.holds(ctx, "40", 5*time.Second, `421["getConnectionId","good-1"]`, "3")
	}},
	{"pings and pongs", func(ctx context.Context, p *peer) error {
		ws, leave, err := p.joined(ctx)
		if err != nil {
			return err
		}
		defer leave()
		for range 200 {
			if err := errors.Join(ws.WriteMessage(websocket.PingMessage, []byte(strings.Repeat("p", 125))), say(ws, "3", "3")); err != nil {
				break // it has had enough
			}
		}
		return wsHangsUp(ws)
	}},
	{"killer packets", func(ctx context.Context, p *peer) error {
		packets := []string{"42", "421", "430", "451-", `451-[{"_placeholder":true,"num":0}]`, "411-[]", "4", "bAAAA", "40", "46", `42["connect"]`, "42[" + strings.Repeat("[", 20_000), "42[\"\xff\xfe\"]"}
		return p.kicked(ctx, func(ws *websocket.Conn) error { return say(ws, packets[rand.IntN(len(packets))]) })
	}},
	{"pong before open", func(ctx context.Context, p *peer) error {
		return p.talk(ctx, upgrade(p, "4")+"\x81\x81\x00\x00\x00\x003\x81\x81\x00\x00\x00\x003\x88\x80\x00\x00\x00\x00")
	}},
	{"protocol 3", func(ctx context.Context, p *peer) error {
		return p.talk(ctx, upgrade(p, "3"), http.StatusBadRequest)
	}},
	{"large frame", func(ctx context.Context, p *peer) error {
		return p.kicked(ctx, func(ws *websocket.Conn) error { return say(ws, `42["`+strings.Repeat("x", 2_000_000)+`"]`) })
	}},
	{"frame that lies", func(ctx context.Context, p *peer) error {
		return p.kickedRaw(ctx, "\x81\xff\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	}},
	{"fragments", func(ctx context.Context, p *peer) error {
		return p.kickedRaw(ctx, "\x01\x80\x00\x00\x00\x00"+strings.Repeat("\x00\xfe\x10\x00\x00\x00\x00\x00"+strings.Repeat("x", 4096), 300))
	}},
	{"compression bomb", func(ctx context.Context, p *peer) error {
		return p.kickedRaw(ctx, "\xc1\xfe\x10\x00\x00\x00\x00\x00"+strings.Repeat("\x00", 4096))
	}},
	{"namespaces", func(ctx context.Context, p *peer) error {
		return p.kicked(ctx, func(ws *websocket.Conn) error {
			for n := range 20 {
				if say(ws, fmt.Sprintf("40/n%d,", n)) != nil {
					break
				}
			}
			return nil
		})
	}},
	{"event flood", func(ctx context.Context, p *peer) error {
		ws, leave, err := p.joined(ctx)
		if err != nil {
			return err
		}
		defer leave()
		for range 150 {
			if say(ws, `42["getConnectionId","good-1"]`) != nil {
				break
			}
		}
		_, err = expect(ws, `42["error",{"details":{"limit":100`)
		return err
	}},
	{"hostile user ids", func(ctx context.Context, p *peer) error {
		ws, leave, err := p.joined(ctx)
		if err != nil {
			return err
		}
		defer leave()
		ids := map[string]string{ // as JSON, and how the answer begins
			`"a\r\nb"`: `430[{"error"`, `"\u0000"`: `430[{"error"`, `{}`: `430[{"error"`, `"` + strings.Repeat("x", 10_000) + `"`: `430[{"error"`,
			`"*"`: `430[{"offset"`, `"{good-1}"`: `430[{"offset"`, `"a}:presence"`: `430[{"offset"`, `"codewar.>"`: `430[{"offset"`,
		}
		for id, want := range ids {
			if err := say(ws, `420["setUserId",`+id+`]`); err != nil {
				return err
			}
			if got, err := expect(ws, "430"); err != nil {
				return err
			} else if !strings.HasPrefix(got, want) && !strings.Contains(got, "TOO_MANY_SOCKETS") {
				return fmt.Errorf("user %.40s: %.100s", id, got)
			}
		}
		return nil
	}},
	{"crowded user", func(ctx context.Context, p *peer) error {
		ws, leave, err := p.joined(ctx)
		if err != nil {
			return err
		}
		defer leave()
		if err := say(ws, `420["setUserId","crowd"]`); err != nil {
			return err
		}
		_, err = expect(ws, "430")
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		return err
	}},
	{"sids of others", func(ctx context.Context, p *peer) error {
		sid := fmt.Sprintf("%020d", rand.Int64())
		return errors.Join(p.request(ctx, http.MethodGet, "/socket.io/?EIO=4&transport=polling&sid="+sid, nil, http.StatusBadRequest),
			p.request(ctx, http.MethodPost, "/socket.io/?EIO=4&transport=polling&sid=..%2f"+sid, strings.NewReader("40"), http.StatusBadRequest))
	}},
	{"path and query", func(ctx context.Context, p *peer) error {
		targets := []string{
			"/socket.io/..%2fmetrics", "//socket.io/", "/socket.io/../messages/1-1", "/socket.io/%00", "/socket.io/?EIO=4&EIO=3&transport=polling",
			"/socket.io/?EIO=4&transport=polling&transport=websocket", "/socket.io/?EIO=4&transport=polling&sid=a&sid=b", "/socket.io/?%zz", "/sendPayload/..;/", "/messages/1-1",
			"/socket.io/?EIO=4&transport=polling&j=0;alert(1)", "/socket.io/?EIO=4&transport=" + strings.Repeat("x", 10_000),
		}
		target := targets[rand.IntN(len(targets))]
		return p.request(ctx, http.MethodGet, target, nil, http.StatusBadRequest, http.StatusNotFound)
	}},
	{"hostile payloads", func(ctx context.Context, p *peer) error {
		bodies := []string{
			`{"userId":"good-1","topic":"a\r\nb"}`, `{"userId":"good-1","topic":"*"}`, `{"userId":"good-1","topic":"codewar.>"}`, `{"userId":"good-1","topic":"note..x"}`,
			`{"userId":"good-1","topic":"connect"}`, `{"userId":"good-1\n","topic":"t"}`, `{"userId":"a","userId":"b","topic":"t"}`, "\xff\xfe",
			`{"userId":"good-1","topic":"t","a":` + strings.Repeat("[", 100_000) + `}`, `{"userId":"good-1","topic":"t","a":1e}`, `[]`,
		}
		return p.post(ctx, strings.NewReader(bodies[rand.IntN(len(bodies))]), http.StatusBadRequest)
	}},
	{"hostile headers", func(ctx context.Context, p *peer) error {
		const body = `{"userId":"nobody here","topic":"t"}`
		text := "POST /sendPayload HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: <script>, %0d%0a\r\nX-Request-Id: " + strings.Repeat("level=ERROR msg=x ", 500) +
			"\r\nOrigin: https://\"evil\\\r\nContent-Type: application/json\r\nContent-Length: " + fmt.Sprint(len(body)) + "\r\n\r\n" + body
		return p.talk(ctx, text, http.StatusNotFound)
	}},
	{"request smuggling", func(ctx context.Context, p *peer) error {
		return p.talk(ctx, "POST /sendPayload HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", http.StatusNotImplemented, http.StatusBadRequest)
	}},
	{"connect storm", func(ctx context.Context, p *peer) error {
		q := *p
		q.from = "203.0.113.200"
		for range 10 {
			_, leave, err := q.websocket(ctx, "")
			if err != nil {
				return err
			}
			leave()
		}
		return nil
	}},
	{"malformed chunk", func(ctx context.Context, p *peer) error {
		return p.talk(ctx, "POST /sendPayload HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: "+p.from+
			"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", http.StatusBadRequest)
	}},
	{"websocket headers", func(ctx context.Context, p *peer) error {
		bad := []string{"Origin : http://a", "Origin: http://a\r\nHost: b", "X(Y): z", "X: a\x00b"}
		text := strings.TrimSuffix(upgrade(p, "4"), "\r\n") + bad[rand.IntN(len(bad))] + "\r\n\r\n"
		return p.talk(ctx, text, http.StatusBadRequest)
	}},
	{"double polls", func(ctx context.Context, p *peer) error {
		return p.doublePoll(ctx)
	}},
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// upgrade is a request for a websocket.
func upgrade(p *peer, eio string) string {
	return "GET /socket.io/?EIO=" + eio + "&transport=websocket HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: " + p.from +
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
}

// drip writes one byte after the other until the bridge has had enough.
func (p *peer) drip(ctx context.Context, text string) error {
	nc, leave, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer leave()
	_, err = io.WriteString(nc, text)
	for began := time.Now(); err == nil; {
		if time.Since(began) > patience {
			return errors.New("is still connected")
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil
		}
		_, err = nc.Write([]byte("x"))
	}
	return nil
}

// holds opens a websocket and keeps it for that long, repeating itself and reading nothing.
func (p *peer) holds(ctx context.Context, first string, long time.Duration, again ...string) error {
	ws, leave, err := p.websocket(ctx, "")
	if err != nil {
		return err
	}
	defer leave()
	if first != "" {
		if err := say(ws, first); err != nil {
			return err
		}
	}
	for until := time.Now().Add(long); time.Now().Before(until); {
		if err := say(ws, again...); err != nil {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

// kicked joins, misbehaves and wants to be disconnected for it.
func (p *peer) kicked(ctx context.Context, misbehave func(*websocket.Conn) error) error {
	ws, leave, err := p.joined(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := misbehave(ws); err != nil {
		return err
	}
	return wsHangsUp(ws)
}

// kickedRaw misbehaves with bytes of its own.
func (p *peer) kickedRaw(ctx context.Context, bytes string) error {
	return p.kicked(ctx, func(ws *websocket.Conn) error {
		_, _ = io.WriteString(ws.NetConn(), bytes) // it may hang up in the middle
		return nil
	})
}

// doublePoll begins a polling session and asks twice at a time, which ends it.
func (p *peer) doublePoll(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/socket.io/?EIO=4&transport=polling", nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("X-Forwarded-For", p.from)
	res, err := p.client.Do(req)
	if err != nil {
		return errBusy
	}
	open, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err := statusOf(res, http.StatusOK); err != nil {
		return err
	}
	parts := strings.Split(string(open), `"`)
	if len(parts) < 4 {
		return fmt.Errorf("open packet %s", open)
	}
	target := "/socket.io/?EIO=4&transport=polling&sid=" + parts[3]
	answers := make(chan error, 2)
	for range 2 {
		go func() { answers <- p.request(ctx, http.MethodGet, target, nil, http.StatusOK, http.StatusBadRequest) }()
	}
	first, second := <-answers, <-answers
	wrong := slices.DeleteFunc([]error{first, second}, func(err error) bool { return err == nil || errors.Is(err, errBusy) })
	return errors.Join(wrong...)
}
