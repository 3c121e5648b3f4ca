// Package compat compares the bridge with Socket.IO's own server and writes what it has
// found to docs/compatibility.md.
//
//	check.go      a check: one function from a server to an observation
//	document.go   the document and its sections, each of which one test writes
//	protocol.go   the section about the protocol, made of the checks in
//	              handshake.go, polling.go, heartbeat.go, closing.go, upgrade.go,
//	              namespace.go and events.go
//	raw.go        clients that send requests and frames as a check spells them
//	server.js     Socket.IO's server with the events of the contract
//
// The checks are written from the protocol documents of Engine.IO 4 and Socket.IO 5.
package compat
