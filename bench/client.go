package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// state is how far a browser has come.
type state int

const (
	dialing   state = iota // the TCP connection is being made
	upgrading              // the websocket was asked for
	opening                // the Engine.IO handshake is to come
	joining                // the namespace was asked for
	mapping                // setUserId was sent
	connected              // it is acknowledged
	gone                   // closed, by whomever
)

// client is one browser: the least of Engine.IO and Socket.IO that a page needs. Unlike
// internal/sioclient's it needs no goroutine and skips what it has decoded before. It is
// owned by the swarm's reader, but for its making.
type client struct {
	fd    int
	user  int
	state state
	began time.Duration // when its connect began
	rest  []byte        // of what was read, the beginning of a frame
	seq   sequence
	zip   *inflater // nil: it takes nothing compressed
}

var (
	errClosed  = errors.New("closed by the server")
	errUpgrade = errors.New("no websocket")
	errSpeech  = errors.New("unexpected")
)

// upgradeRequest is what every browser says first. A line may follow, and an empty one does.
const upgradeRequest = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// request asks for the websocket.
func (c *client) request() []byte {
	if c.zip == nil {
		return []byte(upgradeRequest + "\r\n")
	}
	return []byte(upgradeRequest + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n")
}

// take goes through what was read, and returns what is left of it. It calls say with what
// the client answers, and got for each of its messages.
func (c *client) take(b []byte, say func([]byte) error, got func(n uint64, at time.Duration)) (rest []byte, err error) {
	if c.state == upgrading {
		head, after, whole := bytes.Cut(b, []byte("\r\n\r\n"))
		if !whole {
			return b, nil
		}
		if !bytes.HasPrefix(head, []byte("HTTP/1.1 101 ")) {
			return nil, fmt.Errorf("%w: %.100q", errUpgrade, b)
		}
		c.state, b = opening, after
	}
	for {
		op, payload, size, err := nextFrame(b)
		if err != nil || size == 0 {
			return b, err
		}
		if op == opDeflated {
			if payload, err = c.zip.inflate(payload); err != nil {
				return nil, err
			}
		}
		switch op {
		case opText, opDeflated:
			err = c.hear(payload, say, got)
		case opPing:
			err = say(appendFrame(nil, opPong, string(payload)))
		case opClose:
			err = errClosed
		}
		if err != nil {
			return nil, err
		}
		b = b[size:]
	}
}

var (
	packetPing  = []byte("2")
	packetOpen  = []byte("0{")
	packetJoin  = []byte("40{")
	packetAck   = []byte("430[")
	ackOK       = []byte(`"ok":true`)
	packetBegin = []byte(`42["bridge:offset"`)
)

// hear takes one Engine.IO packet.
func (c *client) hear(text []byte, say func([]byte) error, got func(n uint64, at time.Duration)) error {
	if n, at, ok := parseEvent(text); ok {
		got(n, at)
		return nil
	}
	answer := func(next state, text string) error {
		c.state = next
		return say(appendFrame(nil, opText, text))
	}
	switch {
	case bytes.Equal(text, packetPing):
		return answer(c.state, "3")
	case c.state == opening && bytes.HasPrefix(text, packetOpen):
		return answer(joining, `40{"resume":true}`) // the cursor as an argument, as JavaScript is given it
	case c.state == joining && bytes.HasPrefix(text, packetJoin):
		return answer(mapping, `420["setUserId","`+string(appendUser(nil, c.user))+`"]`)
	case c.state == mapping && bytes.HasPrefix(text, packetAck) && bytes.Contains(text, ackOK):
		c.state = connected
		return nil
	case bytes.HasPrefix(text, packetBegin):
		return nil
	}
	return fmt.Errorf("%w: %.100q", errSpeech, text)
}
