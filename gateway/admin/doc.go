// Package admin is the operators' API and console: the state of every node, charts of the last
// minutes, connected users, and why a user did or did not receive a message.
//
// Any node answers for the whole cluster. It queries the nodes with a valid lease over NATS, and
// names those that did not answer within half a second. While NATS is away it answers for itself
// and names all others. On the path of a message there are only a few counters.
package admin
