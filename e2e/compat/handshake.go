package compat

// handshake is how a session begins, and which requests begin none.
var handshake = section{"Handshake", []check{
	{"open packet", polling, func(c *client) string { return c.ask("GET", pollingQuery, "").String() }, false, ""},
	{"open packet", websocket, func(c *client) string { return c.dial(websocketQuery).read() }, false, ""},
	{"header fields of the answer", polling, func(c *client) string {
		return c.ask("GET", pollingQuery, "").pick("Content-Type", "Cache-Control", "Set-Cookie")
	}, false, ""},
	{"`EIO` missing", polling, func(c *client) string { return c.ask("GET", "transport=polling", "").String() }, false, ""},
	{"`EIO=3`, as Socket.IO 2 sends it", polling, func(c *client) string {
		return c.ask("GET", "EIO=3&transport=polling", "").pick("Content-Type") + " " + c.ask("GET", "EIO=3&transport=polling", "").String()
	}, false, ""},
	{"`EIO=3`, as Socket.IO 2 sends it", websocket, func(c *client) string { return c.refused("EIO=3&transport=websocket") }, false, "the bridge refuses before the upgrade; Socket.IO writes an HTTP answer into the websocket"},
	{"`EIO=5`", polling, func(c *client) string { return c.ask("GET", "EIO=5&transport=polling", "").String() }, false, ""},
	{"`transport` missing", polling, func(c *client) string { return c.ask("GET", "EIO=4", "").String() }, false, ""},
	{"`transport=abc`", polling, func(c *client) string { return c.ask("GET", "EIO=4&transport=abc", "").String() }, false, ""},
	{"`transport=abc`", websocket, func(c *client) string { return c.refused("EIO=4&transport=abc") }, false, "a refusal has one form on both transports"},
	{"`transport=abc&EIO=3`: which comes first", polling, func(c *client) string { return c.ask("GET", "EIO=3&transport=abc", "").String() }, false, ""},
	{"`transport=websocket` without an upgrade", websocket, func(c *client) string { return c.ask("GET", websocketQuery, "").String() }, false, ""},
	{"an upgrade with `transport=polling`", websocket, func(c *client) string { return c.refused(pollingQuery) }, false, "refused before the upgrade"},
	{"`transport` twice", polling, func(c *client) string { return c.ask("GET", pollingQuery+"&transport=websocket", "").String() }, false, ""},
	{"`sid` empty", polling, func(c *client) string { return c.ask("GET", pollingQuery+"&sid=", "").String() }, false, ""},
	{"`sid` unknown", polling, func(c *client) string { return c.ask("GET", pollingQuery+"&sid=abc", "").String() }, false, ""},
	{"POST with a `sid` that is unknown", polling, func(c *client) string { return c.ask("POST", pollingQuery+"&sid=abc", "40").String() }, false, ""},
	{"`sid` unknown", websocket, func(c *client) string { return c.refused(websocketQuery + "&sid=abc") }, false, "a refusal has one form on both transports"},
	{"`sid` twice", polling, func(c *client) string { return c.ask("GET", pollingQuery+"&sid=abc&sid=", "").String() }, false, "a proxy that balances by `sid` may see the other one"},
	{"`b64=1`", polling, func(c *client) string { return c.ask("GET", pollingQuery+"&b64=1", "").String() }, false, ""},
	{"`b64=1`", websocket, func(c *client) string { return c.dial(websocketQuery + "&b64=1").read() }, false, ""},
	{"`t=…`, which keeps caches away", polling, func(c *client) string { return c.ask("GET", pollingQuery+"&t=abc", "").String() }, false, ""},
	{"`j=0` (JSONP)", polling, func(c *client) string { return c.ask("GET", pollingQuery+"&j=0", "").String() }, false, "no client of protocol 4 uses JSONP; the answer would be a script that other origins can run"},
	{"parameters of an application", polling, func(c *client) string { return c.ask("GET", pollingQuery+"&room=a&x=%20", "").String() }, false, ""},
	{"POST", polling, func(c *client) string { return c.ask("POST", pollingQuery, "40").String() }, false, ""},
	{"PUT", polling, func(c *client) string { return c.ask("PUT", pollingQuery, "40").String() }, false, ""},
	{"HEAD", polling, func(c *client) string { return c.ask("HEAD", pollingQuery, "").String() }, false, ""},
	{"GET with a body", polling, func(c *client) string { return c.ask("GET", pollingQuery, "40").String() }, false, "the body could come for as long as the GET hangs"},
	{"path `/socket.io`", polling, func(c *client) string { return status(c.askAt("GET", "/socket.io?"+pollingQuery, "")) }, false, ""},
	{"path `/socket.io/abc`", polling, func(c *client) string { return status(c.askAt("GET", "/socket.io/abc?"+pollingQuery, "")) }, false, "only the path that clients use is the endpoint's"},
	{"preflight of an allowed origin", polling, func(c *client) string {
		return preflight(c, AllowedOrigin).pick("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods",
			"Access-Control-Allow-Headers", "Access-Control-Max-Age", "Vary")
	}, false, ""},
	{"preflight of another origin", polling, func(c *client) string {
		return preflight(c, "https://other.example").pick("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Allow-Methods")
	}, false, "an origin that is not allowed is told nothing; browsers refuse either answer"},
	{"page of an allowed origin", polling, func(c *client) string {
		return c.ask("GET", pollingQuery, "", "Origin", AllowedOrigin).pick("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Vary")
	}, false, "large answers are compressed, so caches must tell them apart"},
	{"page of another origin", polling, func(c *client) string {
		a := c.ask("GET", pollingQuery, "", "Origin", "https://other.example")
		return a.pick("Access-Control-Allow-Origin") + " " + a.String()
	}, false, "origins are enforced, not only announced to the browser"},
	{"page of another origin", websocket, func(c *client) string { return c.refused(websocketQuery, "Origin", "https://other.example") }, false, "origins are enforced on websockets too, where CORS does not apply"},
	{"refusal, read by a page of an allowed origin", polling, func(c *client) string {
		return c.ask("GET", "EIO=3&transport=polling", "", "Origin", AllowedOrigin).pick("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials")
	}, false, ""},
	{"upgrade without `Sec-WebSocket-Key`", websocket, func(c *client) string {
		return c.ask("GET", websocketQuery, "", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13").String()
	}, false, "a refusal has one form on both transports"},
}}

func status(a answer) string { return a.pick() }

func preflight(c *client, origin string) answer {
	return c.ask("OPTIONS", pollingQuery, "", "Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
}
