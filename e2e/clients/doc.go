// Package clients runs the clients that applications have against the bridge: several
// versions of socket.io-client in Node, Chromium behind nginx, python-socketio, a Go client,
// and requests as the Swift, Java and Dart clients spell them. Each client is on one side of a
// line protocol, the tests are on the other.
//
// A driver runs tabs, each of them one socket of its client. Commands come to it as JSON lines:
//
//	{"do":"open","tab":"a","url":"http://…","transports":["polling"],"auth":{…}}
//	{"do":"emit","tab":"a","name":"setUserId","args":["u"],"call":1}
//	{"do":"disconnect","tab":"a"}
//	{"do":"connect","tab":"a","auth":{…}}      the same socket object again
//	{"do":"transport","tab":"a","call":2}      which transport is in use
//
// It says {"type":"ready"} once it takes commands. What happens goes back as JSON lines of type
// connect, disconnect, refused, event and ack. The arguments of an event are those that a handler
// of the application gets, which is not what is in the packet for every client.
package clients
