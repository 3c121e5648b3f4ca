// Command goclient is a driver on a Go client of Socket.IO, for the tests in the directory
// above. It is a module of its own, so that the client's dependencies are not the bridge's.
package main

import (
	"bufio"
	"encoding/json"
	"log"
	"os"
	"sync"
	"time"

	engine "github.com/zishang520/socket.io/clients/engine/v3"
	"github.com/zishang520/socket.io/clients/socket/v3"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

// command is a line of standard input.
type command struct {
	Do         string         `json:"do"`
	Tab        string         `json:"tab"`
	URL        string         `json:"url"`
	Transports []string       `json:"transports"`
	Auth       map[string]any `json:"auth"`
	Name       string         `json:"name"`
	Args       []any          `json:"args"`
	Call       int            `json:"call"`
}

// message is a line of standard output.
type message struct {
	Tab       string `json:"tab"`
	Type      string `json:"type"`
	ID        string `json:"id,omitempty"`
	Recovered bool   `json:"recovered,omitempty"`
	Reason    any    `json:"reason,omitempty"`
	Name      any    `json:"name,omitempty"`
	Args      []any  `json:"args,omitempty"`
	Call      int    `json:"call,omitempty"`
}

// output writes one line at a time.
type output struct {
	mu sync.Mutex // guards to
	to *json.Encoder
}

func (o *output) tell(m message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.to.Encode(m); err != nil {
		log.Fatal(err)
	}
}

func main() {
	out := &output{to: json.NewEncoder(os.Stdout)}
	tabs, opened := make(map[string]*socket.Socket), make(map[string]command)
	out.tell(message{Type: "ready"})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			log.Fatal(err)
		}
		switch tab := tabs[c.Tab]; c.Do {
		case "open":
			opened[c.Tab] = c
			tabs[c.Tab] = open(c, out)
		case "emit":
			args := c.Args
			if c.Call != 0 {
				args = append(args, func(answer []any, _ error) {
					out.tell(message{Tab: c.Tab, Type: "ack", Call: c.Call, Args: answer})
				})
			}
			if err := tab.Emit(c.Name, args...); err != nil {
				log.Fatal(err)
			}
		case "disconnect":
			tab.Disconnect()
		case "connect":
			// The client closes its connection before DISCONNECT is sent, so the server does
			// not know that the session has ended. A new socket does not present it.
			tabs[c.Tab] = open(opened[c.Tab], out)
		case "transport":
			out.tell(message{Tab: c.Tab, Type: "ack", Call: c.Call, Args: []any{tab.Io().Engine().Transport().Name()}})
		}
	}
}

func open(c command, out *output) *socket.Socket {
	options := socket.DefaultOptions()
	options.SetForceNew(true)
	options.SetReconnectionDelay(20)
	options.SetReconnectionDelayMax(100)
	// The client can miss that its own connection has opened; it tries again after this.
	options.SetTimeout(time.Second)
	options.SetAuth(c.Auth)
	if c.Transports != nil {
		transports := types.NewSet[engine.TransportCtor]()
		for _, name := range c.Transports {
			transports.Add(map[string]engine.TransportCtor{"polling": socket.Polling, "websocket": socket.WebSocket}[name])
		}
		options.SetTransports(transports)
	}
	options.SetAutoConnect(false)
	s, err := socket.Connect(c.URL, options)
	if err != nil {
		log.Fatal(err)
	}
	on := func(event types.EventName, do func(...any)) {
		if err := s.On(event, do); err != nil {
			log.Fatal(err)
		}
	}
	on("connect", func(...any) { out.tell(message{Tab: c.Tab, Type: "connect", ID: s.Id(), Recovered: s.Recovered()}) })
	on("disconnect", func(args ...any) { out.tell(message{Tab: c.Tab, Type: "disconnect", Reason: args[0]}) })
	s.OnAny(func(args ...any) { out.tell(message{Tab: c.Tab, Type: "event", Name: args[0], Args: args[1:]}) })
	s.Connect()
	return s
}
