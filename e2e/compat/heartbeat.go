package compat

import (
	"fmt"
	"strings"
)

// heartbeat is pings, pongs and what ends a session that does not answer.
var heartbeat = section{"Heartbeat", []check{
	{"ping after `pingInterval`", polling, func(c *client) string { return c.join().get().String() }, true, ""},
	{"ping after `pingInterval`", websocket, func(c *client) string { return c.joinWS().read() }, true, ""},
	{"client that answers each ping", polling, func(c *client) string {
		s := c.join()
		for range 4 {
			if a := s.get(); a.body != "2" {
				return a.String()
			}
			s.say("3")
		}
		return s.alive()
	}, true, ""},
	{"client that answers each ping", websocket, func(c *client) string {
		w := c.joinWS()
		for range 4 {
			w.want("2")
			w.send("3")
		}
		return w.alive()
	}, true, ""},
	{"client that answers no ping", polling, func(c *client) string {
		s := c.join()
		return fmt.Sprintf("%v, %v, %v", s.get(), s.get(), s.get())
	}, true, ""},
	{"client that answers no ping", websocket, func(c *client) string { return c.joinWS().reads(3) }, true, "a client that does not answer is not waited for"},
	{"client that does not poll", polling, func(c *client) string {
		s := c.join()
		for range 8 { // longer than interval and time-out
			settle()
		}
		return s.get().String()
	}, true, ""},
	{"pong that was not asked for", polling, func(c *client) string {
		s := c.join()
		s.say("3")
		return s.alive()
	}, false, ""},
	{"pong that was not asked for", websocket, func(c *client) string {
		w := c.joinWS()
		w.send("3")
		return w.alive()
	}, false, ""},
	{"ping of the client", polling, func(c *client) string {
		s := c.join()
		a := s.post("2")
		return a.String() + "; " + s.alive()
	}, false, "the client is told that the server has not taken its packets"},
	{"ping of the client", websocket, func(c *client) string {
		w := c.joinWS()
		w.send("2")
		return w.read()
	}, false, ""},
	{"open, upgrade and noop of the client", polling, func(c *client) string {
		s := c.join()
		return strings.Join([]string{s.post("0").String(), s.post("5").String(), s.post("6").String(), s.alive()}, "; ")
	}, false, ""},
	{"open, upgrade and noop of the client", websocket, func(c *client) string {
		w := c.joinWS()
		w.send("0")
		w.send("5")
		w.send("6")
		return w.alive()
	}, false, ""},
}}
