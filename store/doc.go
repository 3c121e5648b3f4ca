// Package store keeps what nodes must know of each other: who is where, how far users have
// received, sessions and leases. [Redis] and [Memory] implement [bridge.Store] and
// pass the same suite. Messages are not in it: the stream keeps them.
package store
