// Package sio is a Socket.IO v4 server: Engine.IO protocol 4, namespace "/", websocket and
// polling. It knows nothing of users, Redis or NATS. It is built on
// github.com/zishang520/socket.io/v2, which no other package imports.
//
// As released, that library can be crashed by one packet of any client, loses bursts, queues
// without bound for a slow client, and reorders the events of a client. The causes are in its
// transports, upgrade, timers and dispatch of events. This package has its own, and calls the
// library for the CONNECT of each client only.
//
//	ws_listener.go            serves websockets in front of an HTTP server
//	ServeHTTP (endpoint.go)   checks requests, sets CORS headers, and dispatches:
//	  handshake               a new session, with its conn and an id (id.go)
//	  poll, post (polling.go) one GET and one POST of a session
//	  websocket (ws.go)       a link for a new session or an upgrade; reads at a pace (ws_conn.go)
//	conn                      one client, for the whole life of its session
//	  conn.go                 begin and end
//	  join.go                 CONNECT
//	  message_read.go         reads messages; packet_parse.go checks them; receive.go handles
//	                          them in order
//	  packet_encode.go        encodes packets; write_queue.go queues them in order, with a bound;
//	                          flush.go writes them
//	  deflate.go, gzip.go     compression, once for each packet
//	  heartbeat.go            ping and pong
//	  eviction.go             bounds the memory held for clients
//	Socket (socket.go)        the Handler's view of a conn
//	  handler_queue.go        calls of the Handler, one at a time, in order
//	  acks.go                 acknowledgements, both ways
//	library.go                the seam to the library
//
// An upgrade from polling to websocket changes only how a conn's queue is written, so it cannot
// lose, double or reorder a packet. The library does not see it.
//
// Locks, in the order in which they may be taken: conn.inbound, evictor.mu, conn.mu, then one
// of Server.mu, acks.mu, handlerQueue.mu and flushList.mu. The locks of gateway/limit come last.
// No lock is held during a call of the Handler or the library, except conn.inbound.
// The log is written without conn.mu.
package sio
