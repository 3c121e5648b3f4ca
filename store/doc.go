// Package store keeps what must outlive a process: who is where, each user's
// recent messages, sessions, leases and the checkpoint. [Redis] and [Memory]
// implement [bridge.Store] and pass the same suite.
package store

import "time"

// Observer is told of each store operation when it ended. It is called by many
// goroutines and must not wait.
type Observer func(op string, took time.Duration, err error)
