// Package sio is a Socket.IO v4 server (Engine.IO protocol 4, namespace "/",
// websocket and polling) on github.com/zishang520/socket.io/v2. It knows nothing
// of users, Redis or NATS, and nothing else imports the library.
//
// The library, as shipped, can be killed by one packet of any client, loses
// bursts, never bounds what waits for a slow client and reorders what clients
// send. All of that sits in its transports, its upgrade, its timers and its
// dispatch of events; so these are ours, and what reaches the library is one
// CONNECT packet for each connection, of our own spelling.
//
//	entrance.go               websockets, before an HTTP server has seen them; which of
//	                          them, entrance_request.go
//	ServeHTTP (endpoint.go)   checks, CORS, and which of:
//	  handshake               a session with an id (id.go), our conn
//	  poll, post (polling.go) one GET and one POST of a session
//	  websocket (ws.go)       a link, at once or as an upgrade
//	conn                      one client for the whole life of its session
//	  conn.go                 start, end
//	  inbound.go, parse.go    what the client says, in order, checked
//	  outbound.go             what the client is told, in order, bounded
//	  deflate.go, gzip.go     the same in fewer bytes, each packet compressed once
//	  heartbeat.go            ping and pong
//	  memory.go, message.go   what is held for the client, counted and bounded
//	Socket (socket.go)        what the Handler sees of a conn
//	  calls.go                its calls to the Handler: one at a time, in order
//	  acks.go                 acknowledgements, both ways
//	library.go                the seam to the library
//
// An upgrade from polling to websocket changes how a conn's queue is emptied and
// nothing else, so no packet can be lost, doubled or overtaken by it; the library
// does not hear of it.
//
// Locks, in the order in which they may be taken: conn.inbound, evictor.mu, conn.mu, then one
// of Server.mu, acks.mu, calls.mu, dirty.mu and newcomers.mu. The locks of gateway/limit come
// last. No lock is held during a call of the Handler or the library, except conn.inbound.
// The log is written without conn.mu.
package sio
