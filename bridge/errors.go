package bridge

import "errors"

var (
	// ErrUnavailable means that NATS or the store is not available, or did not acknowledge
	// in time. What was being written may or may not be stored. A retry is
	// right, and safe with a message id.
	ErrUnavailable = errors.New("not available")
	// ErrNoReceipt means that a message was stored and no receipt came in time.
	ErrNoReceipt = errors.New("no receipt in time")
	// ErrTooLarge means that NATS does not accept a message of this size.
	ErrTooLarge = errors.New("message is larger than nats allows")
	// ErrRefused means that NATS refuses this message permanently, or that the store has data under a
	// user's keys that is not the bridge's.
	ErrRefused = errors.New("refused")
	// ErrNotNow means that NATS or the store refuses this message at present. A retry is right, but
	// the refusal may last.
	ErrNotNow = errors.New("refused for now")
	// ErrNotLeader means that another node leads, in a greater term.
	ErrNotLeader = errors.New("not the leader")
	// ErrNodeGone means that a node has certainly not received a message.
	// After any other error of a forward it may have received it.
	ErrNodeGone = errors.New("no such node")
)
