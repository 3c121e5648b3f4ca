package compat

// events is EVENT and ACK.
var events = section{"Events", []check{
	{"EVENT", websocket, func(c *client) string { return saying(c, 1, `42["getConnectionId","a"]`) }, false, ""},
	{"EVENT with an id", websocket, func(c *client) string { return saying(c, 2, `4212["getConnectionId","a"]`) }, false, ""},
	{"id 0", websocket, func(c *client) string { return saying(c, 2, `420["getConnectionId","a"]`) }, false, ""},
	{"id of 16 digits", websocket, func(c *client) string { return saying(c, 2, `429007199254740991["getConnectionId","a"]`) }, false, ""},
	{"two events in one go: order of the answers", websocket, func(c *client) string {
		return saying(c, 4, `421["getConnectionId","a"]`, `422["getConnectionId","b"]`)
	}, false, ""},
	{"name with spaces, quotes and letters of other scripts", websocket, func(c *client) string {
		return saying(c, 1, `42["a \"ü\" \u4e16"]`, `42["getConnectionId","a"]`)
	}, false, "the contract: unknown events are answered"},
	{"event that the server does not have", websocket, func(c *client) string {
		return saying(c, 1, `42["nothing"]`, `42["getConnectionId","a"]`)
	}, false, "the contract: unknown events are answered"},
	{"event that the server does not have, with an id", websocket, func(c *client) string {
		return saying(c, 1, `421["nothing"]`, `42["getConnectionId","a"]`)
	}, false, "the contract: unknown events are answered"},
	{"name that is a number", websocket, func(c *client) string { return saying(c, 1, `42[5]`, `42["getConnectionId","a"]`) }, false, "the contract: unknown events are answered"},
	{"name that is reserved (`connect`)", websocket, func(c *client) string { return saying(c, 1, `42["connect"]`) }, false, ""},
	{"name that is an object", websocket, func(c *client) string { return saying(c, 1, `42[{}]`) }, false, ""},
	{"EVENT without data", websocket, func(c *client) string { return saying(c, 1, `42`, `42["getConnectionId","a"]`) }, false, "not a packet of the protocol"},
	{"EVENT with an empty array", websocket, func(c *client) string { return saying(c, 1, `42[]`) }, false, ""},
	{"EVENT with an object", websocket, func(c *client) string { return saying(c, 1, `42{}`) }, false, ""},
	{"EVENT that is no JSON", websocket, func(c *client) string { return saying(c, 1, `42["a`) }, false, ""},
	{"ACK that nobody waits for", websocket, func(c *client) string { return saying(c, 1, `437["x"]`, `42["getConnectionId","a"]`) }, false, ""},
	{"ACK without an id", websocket, func(c *client) string { return saying(c, 1, `43["x"]`, `42["getConnectionId","a"]`) }, false, "not a packet of the protocol"},
	{"ACK without data", websocket, func(c *client) string { return saying(c, 1, `437`, `42["getConnectionId","a"]`) }, false, "not a packet of the protocol"},
	{"packet type 7", websocket, func(c *client) string { return saying(c, 1, `47`) }, false, ""},
	{"message without a packet", websocket, func(c *client) string { return saying(c, 1, `4`) }, false, ""},
	{"BINARY_EVENT and its attachment", websocket, func(c *client) string {
		w := c.joinWS()
		w.send(`451-["getConnectionId",{"_placeholder":true,"num":0}]`)
		w.sendBinary("\x01\x02")
		return w.read()
	}, false, "the contract: a user id is a text or a number"},
	{"BINARY_EVENT and its attachment", polling, func(c *client) string {
		s := c.join()
		a := s.post(`451-["getConnectionId",{"_placeholder":true,"num":0}]` + "\x1ebAQI=")
		return a.String() + "; " + s.collect(1)
	}, false, "the contract: a user id is a text or a number"},
	{"BINARY_EVENT without its attachment, then EVENT", websocket, func(c *client) string {
		return saying(c, 1, `451-["getConnectionId",{"_placeholder":true,"num":0}]`, `42["getConnectionId","a"]`)
	}, false, ""},
	{"compressed messages offered (`permessage-deflate`)", websocket, func(c *client) string {
		c.inflates = true
		_, a := c.connect(websocketQuery)
		return a.pick("Sec-WebSocket-Extensions")
	}, false, "large messages are compressed, once for all clients; Socket.IO's default is off"},
}}

// saying is the first answers to what a client that has joined says.
func saying(c *client, answers int, packets ...string) string {
	w := c.joinWS()
	for _, packet := range packets {
		w.send(packet)
	}
	return w.reads(answers)
}
