// Package gateway is the HTTP server: routes, middleware, TLS, origins, readiness and the guard
// of the operators' routes. Clients' sockets are package hub's, calls of /sendPayload package
// publish's, and the Socket.IO endpoint is package sio.
package gateway
