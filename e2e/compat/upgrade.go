package compat

// upgrading is how a session that polls becomes a websocket.
var upgrading = section{"Upgrade", []check{
	{"probe", upgrade, func(c *client) string {
		w := c.dial(websocketQuery + "&sid=" + c.join().sid)
		w.send("2probe")
		return w.read()
	}, false, ""},
	{"the GET that hangs, after the probe", upgrade, func(c *client) string {
		s := c.join()
		got := s.hang()
		w := c.dial(websocketQuery + "&sid=" + s.sid)
		w.send("2probe")
		w.want("3probe")
		return (<-got).String()
	}, false, ""},
	{"`5`, then events", upgrade, func(c *client) string { return c.join().comeOver().alive() }, false, ""},
	{"events sent between probe and `5`", upgrade, func(c *client) string {
		s := c.join()
		w := c.dial(websocketQuery + "&sid=" + s.sid)
		w.send("2probe")
		w.want("3probe")
		s.say(`42["getConnectionId","nobody"]`)
		return s.get().String()
	}, false, ""},
	{"what was queued and not fetched, after `5`", upgrade, func(c *client) string {
		s := c.join()
		s.say(`42["getConnectionId","nobody"]`)
		settle()
		return s.comeOver().read()
	}, false, ""},
	{"ping without `probe`", upgrade, func(c *client) string {
		s := c.join()
		w := c.dial(websocketQuery + "&sid=" + s.sid)
		w.send("2")
		return w.read() + "; " + s.alive()
	}, false, ""},
	{"`5` without a probe", upgrade, func(c *client) string {
		s := c.join()
		w := c.dial(websocketQuery + "&sid=" + s.sid)
		w.send("5")
		w.send(`42["getConnectionId","nobody"]`)
		return w.read()
	}, false, "a client that has not asked does not know that no GET hangs"},
	{"probe whose websocket is closed", upgrade, func(c *client) string {
		s := c.join()
		w := c.dial(websocketQuery + "&sid=" + s.sid)
		w.send("2probe")
		w.want("3probe")
		w.conn.Close()
		settle()
		return s.alive() + "; " + s.collect(1)
	}, false, ""},
	{"probe that says nothing, after `upgradeTimeout`", upgrade, func(c *client) string {
		s := c.join()
		w := c.dial(websocketQuery + "&sid=" + s.sid)
		got := make(chan string, 1)
		go func() { got <- w.read() }()
		for {
			select {
			case end := <-got:
				return end + "; " + s.alive()
			default:
			}
			if a := s.get(); a.body == "2" {
				s.say("3")
			}
		}
	}, true, ""},
	{"a second websocket during a probe", upgrade, func(c *client) string {
		s := c.join()
		w := c.dial(websocketQuery + "&sid=" + s.sid)
		w.send("2probe")
		w.want("3probe")
		second := c.refused(websocketQuery + "&sid=" + s.sid)
		w.send("5")
		return second + "; " + w.alive()
	}, false, "refused before the upgrade"},
	{"a second websocket after the upgrade", upgrade, func(c *client) string {
		s := c.join()
		w := s.upgrade()
		return c.refused(websocketQuery+"&sid="+s.sid) + "; " + w.alive()
	}, false, "refused before the upgrade"},
	{"CONNECT on the websocket only", upgrade, func(c *client) string {
		w := c.open().comeOver()
		w.send("40")
		return w.read()
	}, false, "`pid`: the session can be resumed"},
}}

// upgrade makes a session a websocket, and returns when the server has taken it.
func (s *session) upgrade() *ws {
	w := s.comeOver()
	if seen := w.alive(); seen != "the session lives" {
		stop("after the upgrade: %s", seen)
	}
	return w
}

// comeOver goes through the upgrade as the stock client does: no GET hangs when it sends
// the upgrade packet.
func (s *session) comeOver() *ws {
	w := s.dial(websocketQuery + "&sid=" + s.sid)
	w.send("2probe")
	w.want("3probe")
	w.send("5")
	return w
}
