package clients

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// wire is a driver in this process: Socket.IO as a dialect speaks it.
type wire struct {
	dialect *dialect
	tell    func(message)
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	telling sync.Mutex // one message after the other
	tabs    map[string]*wireTab
}

func (d *dialect) start(tell func(message)) (driver, error) {
	w := &wire{dialect: d, tell: tell, tabs: make(map[string]*wireTab)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w, nil
}

func (w *wire) close() error {
	w.cancel()
	w.work.Wait()
	return nil
}

func (w *wire) say(m message) {
	w.telling.Lock()
	defer w.telling.Unlock()
	w.tell(m)
}

// wireTab is a socket object. It reconnects by itself.
type wireTab struct {
	wire   *wire
	name   string
	opened command

	mu     sync.Mutex // guards what follows
	engine *engine    // nil while there is none
	leave  context.CancelFunc
	gone   chan struct{} // closed when the tab has left

	// What the client keeps from one connection to the next, for the goroutine that reads.
	pid, offset *string
}

func (w *wire) do(c command) error {
	if c.Do == "open" {
		if c.Transports == nil {
			c.Transports = []string{"polling", "websocket"}
		}
		w.tabs[c.Tab] = &wireTab{wire: w, name: c.Tab, opened: c}
		w.tabs[c.Tab].connect()
		return nil
	}
	t := w.tabs[c.Tab]
	switch c.Do {
	case "connect":
		t.connect()
	case "disconnect":
		t.disconnect()
	case "emit":
		id := ""
		if c.Call != 0 {
			id = strconv.Itoa(c.Call)
		}
		text, err := json.Marshal(append([]any{c.Name}, c.Args...))
		if err != nil {
			return err
		}
		return t.send("42" + id + string(text))
	case "transport":
		t.mu.Lock()
		defer t.mu.Unlock()
		name, _ := json.Marshal(t.engine.transport())
		w.say(message{Tab: t.name, Type: "ack", Call: c.Call, Args: []json.RawMessage{name}})
	}
	return nil
}

// connect begins to connect, again and again.
func (t *wireTab) connect() {
	ctx, leave := context.WithCancel(t.wire.ctx)
	t.mu.Lock()
	t.leave, t.gone = leave, make(chan struct{})
	gone := t.gone
	t.mu.Unlock()
	t.wire.work.Go(func() {
		defer close(gone)
		for ctx.Err() == nil {
			t.session(ctx)
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
}

// disconnect leaves the namespace and closes the connection, as `socket.disconnect()` does.
func (t *wireTab) disconnect() {
	_ = t.send(t.wire.dialect.leave)
	_ = t.send("1")
	t.mu.Lock()
	leave, gone := t.leave, t.gone
	t.mu.Unlock()
	leave()
	<-gone
}

func (t *wireTab) send(packet string) error {
	t.mu.Lock()
	e := t.engine
	t.mu.Unlock()
	if e == nil {
		return fmt.Errorf("%s is not connected", t.name)
	}
	return e.send(packet)
}

func (t *wireTab) use(e *engine) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.engine = e
}

// session is one connection.
func (t *wireTab) session(ctx context.Context) {
	e, err := openEngine(ctx, t.wire.dialect, strings.TrimPrefix(t.opened.URL, "http://"), t.opened.Transports)
	if err == nil {
		defer e.close()
		defer context.AfterFunc(ctx, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.ws != nil {
				_ = e.ws.Close()
			}
		})()
		err = e.send(t.wire.dialect.join + t.auth())
	}
	if err != nil {
		t.wire.say(message{Tab: t.name, Type: "refused", Reason: err.Error()})
		return
	}
	t.use(e)
	joined := false
	for err == nil {
		var packet string
		if packet, err = e.read(); err == nil {
			joined = joined || strings.HasPrefix(packet, "40")
			err = t.handle(e, packet)
		}
	}
	t.use(nil)
	if joined {
		t.wire.say(message{Tab: t.name, Type: "disconnect", Reason: err.Error()})
	} else {
		t.wire.say(message{Tab: t.name, Type: "refused", Reason: err.Error()})
	}
}

// auth is the payload of CONNECT.
func (t *wireTab) auth() string {
	auth := map[string]any{}
	if t.pid != nil {
		auth["pid"], auth["offset"] = t.pid, t.offset
	}
	for name, value := range t.opened.Auth {
		if t.wire.dialect.texts {
			value = fmt.Sprint(value)
		}
		auth[name] = value
	}
	if len(auth) == 0 {
		return ""
	}
	text, _ := json.Marshal(auth) // of texts
	return string(text)
}

// handle does what a packet asks for.
func (t *wireTab) handle(e *engine, packet string) error {
	switch {
	case packet == "2":
		return e.send("3")
	case packet == "6":
		return nil
	case strings.HasPrefix(packet, "40"):
		var joined struct{ SID, PID string }
		if err := json.Unmarshal([]byte(packet[2:]), &joined); err != nil {
			return fmt.Errorf("%s: %w", packet, err)
		}
		if t.wire.dialect.resumes && joined.PID != "" {
			t.pid = &joined.PID
		}
		t.wire.say(message{Tab: t.name, Type: "connect", ID: joined.SID})
		return nil
	case strings.HasPrefix(packet, "42"), strings.HasPrefix(packet, "43"):
		return t.event(e, packet)
	}
	return fmt.Errorf("the server says %q", packet)
}

// event handles EVENT and ACK: a number, if there is one, and a list.
func (t *wireTab) event(e *engine, packet string) error {
	begins := strings.IndexByte(packet, '[')
	if begins < 0 {
		return fmt.Errorf("the server says %q", packet)
	}
	id, text := packet[2:begins], packet[begins:]
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return fmt.Errorf("%s: %w", packet, err)
	}
	if packet[1] == '3' {
		call, err := strconv.Atoi(id)
		t.wire.say(message{Tab: t.name, Type: "ack", Call: call, Args: list})
		return err
	}
	var name string
	if len(list) == 0 || json.Unmarshal(list[0], &name) != nil {
		return fmt.Errorf("the server says %q", packet)
	}
	var last string
	if t.pid != nil && json.Unmarshal(list[len(list)-1], &last) == nil {
		t.offset = &last
	}
	t.wire.say(message{Tab: t.name, Type: "event", Name: name, Args: t.wire.dialect.arguments(list[1:])})
	if id != "" {
		return e.send("43" + id + "[]")
	}
	return nil
}
