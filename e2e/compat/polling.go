package compat

import (
	"fmt"
	"slices"
	"strings"
)

// pollingSection is how a session polls.
var pollingSection = section{"Polling", []check{
	{"header fields of GET's answer", polling, func(c *client) string {
		s := c.open()
		s.say("40")
		return s.get().pick("Content-Type", "Cache-Control")
	}, false, ""},
	{"answer to POST", polling, func(c *client) string {
		a := c.open().post("40")
		return a.pick("Content-Type", "Cache-Control") + " " + a.String()
	}, false, ""},
	{"several packets in a POST", polling, func(c *client) string {
		s := c.join()
		s.say(`421["getConnectionId","a"]`, `422["getConnectionId","b"]`)
		return s.collect(4)
	}, false, ""},
	{"60 packets in a POST", polling, func(c *client) string {
		s := c.join()
		s.say(slices.Repeat([]string{`42["getConnectionId","a"]`}, 60)...)
		return fmt.Sprintf("%d events", strings.Count(s.collect(60), "connectionId"))
	}, false, ""},
	{"packets in one answer, when 60 wait", polling, func(c *client) string {
		s := c.join()
		s.say(slices.Repeat([]string{`42["getConnectionId","a"]`}, 60)...)
		settle()
		var sizes []string
		for n := 0; n < 60; {
			a := s.get()
			if a.body == "" {
				return a.String()
			}
			packets := strings.Count(a.body, "\x1e") + 1
			sizes = append(sizes, fmt.Sprint(packets))
			n += packets
		}
		return strings.Join(sizes, ", ")
	}, false, "python-engineio refuses an answer with more than 16 packets and loses them"},
	{"a second GET while one hangs", polling, func(c *client) string {
		s := c.join()
		first := s.hang()
		second := s.get()
		return fmt.Sprintf("the second %v; the first %v; then %v", status(second), <-first, s.get())
	}, false, ""},
	{"a second POST while one is under way", polling, func(c *client) string {
		s := c.join()
		first := s.beginPost(2)
		second := s.post("3")
		return fmt.Sprintf("the second %v; then %v", status(second), s.get()) + first.cut()
	}, false, ""},
	{"a GET that the client gives up", polling, func(c *client) string {
		s := c.join()
		other := &session{newClient(c.base), s.sid, s.query}
		got := other.hang()
		other.close()
		<-got
		settle()
		return s.post("3").String()
	}, false, ""},
	{"POST without a body", polling, func(c *client) string {
		s := c.join()
		a := s.post("")
		return a.String() + "; " + s.alive()
	}, false, "the client is told that the server has not taken its packets"},
	{"POST of `abc`", polling, func(c *client) string {
		s := c.join()
		a := s.post("abc")
		return a.String() + "; " + s.alive()
	}, false, "the client is told that the server has not taken its packets"},
	{"POST with an empty packet in it", polling, func(c *client) string {
		s := c.join()
		a := s.post("3\x1e\x1e3")
		return a.String() + "; " + s.alive()
	}, false, "the client is told that the server has not taken its packets"},
	{"POST of `application/octet-stream`", polling, func(c *client) string {
		s := c.join()
		a := s.ask("POST", s.query, "40", "Content-Type", "application/octet-stream")
		return status(a) + "; " + s.alive()
	}, false, ""},
	{"POST of more than `maxPayload`", polling, func(c *client) string {
		s := c.join()
		a := s.post(`42["x","` + strings.Repeat("x", 1_000_000) + `"]`)
		return status(a) + "; " + s.alive()
	}, false, ""},
	{"message of more than `maxPayload`", websocket, func(c *client) string {
		w := c.joinWS()
		w.send(`42["x","` + strings.Repeat("x", 1_000_000) + `"]`)
		return w.read()
	}, false, ""},
	{"PUT on a session", polling, func(c *client) string {
		s := c.join()
		a := s.ask("PUT", s.query, "3")
		return status(a) + "; " + s.alive()
	}, false, "the request is wrong, not the server"},
	{"`EIO=3` on a session", polling, func(c *client) string {
		s := c.join()
		return s.ask("GET", "EIO=3&transport=polling&sid="+s.sid, "").String() + "; " + s.alive()
	}, false, ""},
	{"GET on a session that is a websocket", polling, func(c *client) string {
		s := c.join()
		w := s.upgrade()
		return s.get().String() + "; " + w.alive()
	}, false, ""},
	{"POST on a session that is a websocket", polling, func(c *client) string {
		s := c.join()
		w := s.upgrade()
		return s.post("3").String() + "; " + w.alive()
	}, false, ""},
}}

// collect polls until n packets have come.
func (s *session) collect(n int) string {
	var all []string
	for len(all) < n {
		a := s.get()
		if a.status != 200 {
			return strings.Join(append(all, a.String()), ", ")
		}
		for packet := range strings.SplitSeq(a.body, "\x1e") {
			all = append(all, "`"+mask(packet)+"`")
		}
	}
	return strings.Join(all, ", ")
}

// cut ends a POST that is under way.
func (p posting) cut() string {
	p.conn.Close()
	return ""
}
