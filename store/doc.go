// Package store keeps what nodes must know of each other: who is where, how far users have
// received, sessions and leases. [Redis] and [Memory] implement [bridge.Store] and
// pass the same suite. Messages are not in it: the stream keeps them.
package store

import "time"

// Observer is told of each store operation when it ended. It is called by many
// goroutines and must not wait.
type Observer func(op string, took time.Duration, err error)
