package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
)

// engine is one Engine.IO connection of a dialect: by polling, by websocket, or by polling
// with an upgrade. send may be called beside read, which belongs to one goroutine.
type engine struct {
	dialect *dialect
	host    string
	client  *http.Client
	ctx     context.Context
	abort   context.CancelFunc
	sid     string
	waiting []string     // packets that were read and not returned
	probe   chan *probed // what became of an upgrade; nil when there is none

	mu sync.Mutex      // held while a packet is sent and while the transport changes
	ws *websocket.Conn // nil while it polls
}

type probed struct {
	ws  *websocket.Conn
	err error
}

// openEngine makes the handshake.
func openEngine(ctx context.Context, d *dialect, host string, transports []string) (*engine, error) {
	e := &engine{dialect: d, host: host, client: &http.Client{Transport: &http.Transport{}}}
	e.ctx, e.abort = context.WithCancel(ctx)
	var err error
	if transports[0] == "websocket" {
		e.ws, err = e.dial()
	}
	var opened []string
	if err == nil {
		opened, err = e.packets()
	}
	if err != nil {
		e.close()
		return nil, err
	}
	var open struct {
		SID      string
		Upgrades []string
	}
	if !strings.HasPrefix(opened[0], "0") || json.Unmarshal([]byte(opened[0][1:]), &open) != nil {
		e.close()
		return nil, fmt.Errorf("the handshake is answered %q", opened)
	}
	e.sid, e.waiting = open.SID, opened[1:]
	if e.ws == nil && slices.Contains(transports, "websocket") && slices.Contains(open.Upgrades, "websocket") {
		e.probe = make(chan *probed, 1)
		go func() { // ends with the connection
			ws, err := e.tryUpgrade()
			e.probe <- &probed{ws, err}
		}()
	}
	return e, nil
}

func (e *engine) url(scheme, transport string) string {
	return scheme + "://" + e.host + "/socket.io/?" + e.dialect.query(transport, e.sid)
}

func (e *engine) dial() (*websocket.Conn, error) {
	ws, res, err := websocket.DefaultDialer.DialContext(e.ctx, e.url("ws", "websocket"), e.dialect.header("websocket", http.MethodGet, e.host))
	if err != nil && res != nil {
		return nil, fmt.Errorf("websocket handshake: %s", res.Status)
	}
	return ws, err
}

// tryUpgrade opens the websocket and asks whether it works.
func (e *engine) tryUpgrade() (*websocket.Conn, error) {
	ws, err := e.dial()
	if err != nil {
		return nil, err
	}
	if err := ws.WriteMessage(websocket.TextMessage, []byte("2probe")); err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	_, text, err := ws.ReadMessage()
	if err == nil && string(text) != "3probe" {
		err = fmt.Errorf("the probe is answered %q", text)
	}
	if err != nil {
		return nil, errors.Join(err, ws.Close())
	}
	return ws, nil
}

// read returns the next packet.
func (e *engine) read() (packet string, err error) {
	for len(e.waiting) == 0 {
		if err := e.upgrade(); err != nil {
			return "", err
		}
		if e.waiting, err = e.packets(); err != nil {
			return "", err
		}
	}
	packet, e.waiting = e.waiting[0], e.waiting[1:]
	return packet, nil
}

// upgrade changes to the websocket when it has proved to work. No poll is under way here,
// and no post while mu is held.
func (e *engine) upgrade() error {
	if e.probe == nil {
		return nil
	}
	select {
	case p := <-e.probe:
		e.probe = nil
		if p.err != nil {
			return p.err
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.ws = p.ws
		return e.ws.WriteMessage(websocket.TextMessage, []byte("5"))
	default:
		return nil
	}
}

// packets waits for what comes next.
func (e *engine) packets() ([]string, error) {
	if e.ws != nil {
		_, text, err := e.ws.ReadMessage()
		return []string{string(text)}, err
	}
	text, err := e.request(http.MethodGet, "")
	return strings.Split(text, "\x1e"), err
}

func (e *engine) request(method, body string) (text string, err error) {
	r, err := http.NewRequestWithContext(e.ctx, method, e.url("http", "polling"), strings.NewReader(body))
	if err != nil {
		return "", err
	}
	if body == "" {
		r.Body = nil
	}
	r.Header = e.dialect.header("polling", method, e.host)
	res, err := e.client.Do(r)
	if err != nil {
		return "", err
	}
	answer, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is answered %s: %.200s", method, res.Status, answer)
	}
	return string(answer), err
}

// send sends a packet by the transport that is in use.
func (e *engine) send(packet string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ws != nil {
		return e.ws.WriteMessage(websocket.TextMessage, []byte(packet))
	}
	_, err := e.request(http.MethodPost, packet)
	return err
}

// transport names the transport that is in use.
func (e *engine) transport() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ws != nil {
		return "websocket"
	}
	return "polling"
}

// close ends the connection. It is called by the goroutine that reads.
func (e *engine) close() {
	e.abort()
	if e.probe != nil {
		if p := <-e.probe; p.ws != nil {
			_ = p.ws.Close()
		}
	}
	if e.ws != nil {
		_ = e.ws.Close()
	}
	e.client.CloseIdleConnections()
}
