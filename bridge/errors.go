package bridge

import "errors"

var (
	// ErrUnavailable means that the bus or the store is away or did not acknowledge
	// in time. What was being written may or may not be stored; trying again is
	// right, and safe with a message id.
	ErrUnavailable = errors.New("not available")
	// ErrNoReceipt means that a message was stored but that no receipt came in time.
	ErrNoReceipt = errors.New("no receipt in time")
	// ErrTooLarge means that the bus takes no message of this size.
	ErrTooLarge = errors.New("message is larger than nats allows")
	// ErrRefused means that the bus has answered that it does not take this message, and will not
	// when it is asked again, or the store that what it has under a user's keys is not the bridge's.
	ErrRefused = errors.New("refused")
	// ErrNotNow means that the bus or the store has answered that it does not take this message
	// at present. Trying again is right, but it may last.
	ErrNotNow = errors.New("refused for now")
	// ErrNotLeader means that another node leads, in a greater term.
	ErrNotLeader = errors.New("not the leader")
	// ErrNodeGone means that a node certainly did not get what was forwarded to it.
	// Any other error of a forward leaves that open.
	ErrNodeGone = errors.New("no such node")
)
