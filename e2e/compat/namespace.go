package compat

import "fmt"

// namespaces is CONNECT and DISCONNECT.
var namespaces = section{"Namespaces", []check{
	{"CONNECT", polling, func(c *client) string {
		s := c.open()
		s.say("40")
		return s.get().String()
	}, false, "`pid`: the session can be resumed"},
	{"CONNECT", websocket, func(c *client) string { return connecting(c, "40") }, false, "`pid`: the session can be resumed"},
	{"CONNECT with `auth`", websocket, func(c *client) string { return connecting(c, `40{"token":"abc"}`) }, false, "`pid`: the session can be resumed"},
	{"CONNECT, namespace spelt out", websocket, func(c *client) string { return connecting(c, "40/,") }, false, "`pid`: the session can be resumed"},
	{"CONNECT with `auth` that is an array", websocket, func(c *client) string { return connecting(c, `40["a"]`) }, false, ""},
	{"CONNECT with `auth` that is no JSON", websocket, func(c *client) string { return connecting(c, `40{"a":`) }, false, ""},
	{"CONNECT to a namespace that is not there", websocket, func(c *client) string { return connecting(c, "40/admin,") }, false, ""},
	{"the same, with `auth`", websocket, func(c *client) string { return connecting(c, `40/admin,{"token":"abc"}`) }, false, ""},
	{"the same, then CONNECT to `/`", websocket, func(c *client) string {
		w := c.openWS()
		w.send("40/admin,")
		w.want("44/admin,")
		w.send("40")
		return w.read()
	}, false, "`pid`: the session can be resumed"},
	{"CONNECT twice", websocket, func(c *client) string {
		w := c.joinWS()
		w.send("40")
		return w.read()
	}, false, ""},
	{"CONNECT twice", polling, func(c *client) string {
		s := c.join()
		return fmt.Sprintf("%v; %v", s.post("40"), s.get())
	}, false, "the client is told that the server has not taken its packets"},
	{"no CONNECT within `connectTimeout`", websocket, func(c *client) string {
		w := c.openWS()
		for {
			switch text := w.read(); text {
			case "`2`":
				w.send("3")
			default:
				return text
			}
		}
	}, true, ""},
	{"EVENT before CONNECT", websocket, func(c *client) string { return connecting(c, `42["getConnectionId","a"]`) }, false, ""},
	{"EVENT before CONNECT", polling, func(c *client) string {
		s := c.open()
		return fmt.Sprintf("%v; %v", s.post(`42["getConnectionId","a"]`), s.get())
	}, false, "the client is told that the server has not taken its packets"},
	{"EVENT right behind CONNECT", websocket, func(c *client) string {
		w := c.openWS()
		w.send("40")
		w.send(`42["getConnectionId","a"]`)
		return w.reads(2)
	}, false, "an event that comes early is not lost"},
	{"EVENT in a namespace that was not joined", websocket, func(c *client) string {
		w := c.joinWS()
		w.send(`42/admin,["getConnectionId","a"]`)
		return w.read()
	}, false, ""},
	{"CONNECT_ERROR of the client", websocket, func(c *client) string {
		w := c.joinWS()
		w.send(`44{"message":"x"}`)
		return w.read()
	}, false, ""},
	{"DISCONNECT, then the heartbeat", websocket, func(c *client) string {
		w := c.joinWS()
		w.send("41")
		return w.read()
	}, true, ""},
	{"DISCONNECT, then the heartbeat", polling, func(c *client) string {
		s := c.join()
		s.say("41")
		return s.get().String()
	}, true, ""},
	{"DISCONNECT, then CONNECT", websocket, func(c *client) string {
		w := c.joinWS()
		w.send("41")
		settle()
		w.send("40")
		return w.read()
	}, false, "the client's library connects anew: what identifies a client is not kept for the life of a connection"},
	{"DISCONNECT, then EVENT", websocket, func(c *client) string {
		w := c.joinWS()
		w.send("41")
		settle()
		w.send(`42["getConnectionId","a"]`)
		return w.read()
	}, false, ""},
	{"DISCONNECT with data", websocket, func(c *client) string {
		w := c.joinWS()
		w.send(`41{"a":1}`)
		return w.read()
	}, true, ""},
}}

// connecting is the answer to the first packet of a websocket.
func connecting(c *client, packet string) string {
	w := c.openWS()
	w.send(packet)
	return w.read()
}
