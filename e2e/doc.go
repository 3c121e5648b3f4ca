// Package e2e uses the bridge as its users do: real processes, the official
// socket.io-client, plain NATS clients, HTTP.
package e2e
