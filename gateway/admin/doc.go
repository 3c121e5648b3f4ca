// Package admin is what operators see: the state of every node, charts of the last
// minutes, who is connected, and why a user did or did not get a message.
//
// Any node answers for the whole cluster. It asks the nodes whose lease lives,
// over NATS, and names those that did not answer within half a second; while NATS
// is away it answers for itself and names all others. Nothing here is on the path
// of a message but a few atomic counters.
package admin
