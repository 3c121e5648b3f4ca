package compat

import (
	"fmt"

	gorilla "github.com/gorilla/websocket"
)

// closing is how a session ends.
var closing = section{"Closing", []check{
	{"`1` while a GET hangs", polling, func(c *client) string {
		s := c.join()
		got := s.hang()
		a := s.post("1")
		return fmt.Sprintf("POST %v; GET %v; then %v", a, <-got, s.get())
	}, false, ""},
	{"`1` without a GET", polling, func(c *client) string {
		s := c.join()
		return fmt.Sprintf("POST %v; then %v", s.post("1"), s.get())
	}, false, ""},
	{"`1`", websocket, func(c *client) string {
		w := c.joinWS()
		w.send("1")
		return w.read()
	}, false, "the protocol: the connection is closed"},
	{"close frame", websocket, func(c *client) string {
		w := c.joinWS()
		_ = w.conn.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(gorilla.CloseNormalClosure, "")) // shows in the read
		return w.read()
	}, false, ""},
	{"binary packet (`b…`) without an event", polling, func(c *client) string {
		s := c.join()
		a := s.post("bAAAA")
		return a.String() + "; " + s.alive()
	}, false, "the client is told that the server has not taken its packets"},
	{"binary message without an event", websocket, func(c *client) string {
		w := c.joinWS()
		w.sendBinary("\x01\x02")
		return w.read()
	}, false, ""},
	{"message of unknown type `abc`", websocket, func(c *client) string {
		w := c.joinWS()
		w.send("abc")
		return w.read()
	}, false, ""},
	{"empty message", websocket, func(c *client) string {
		w := c.joinWS()
		w.send("")
		return w.read()
	}, false, ""},
	{"message that is not UTF-8", websocket, func(c *client) string {
		w := c.joinWS()
		w.send("42[\"\xff\"]")
		return w.read()
	}, false, "every protocol error has the same code"},
}}
