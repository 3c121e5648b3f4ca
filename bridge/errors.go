package bridge

import "errors"

var (
	// ErrUnavailable means that the bus or the store did not take it: nothing was
	// stored, and trying again later is right.
	ErrUnavailable = errors.New("not available")
	// ErrNoReceipt means that a message was stored but that nobody said in time
	// what became of it.
	ErrNoReceipt = errors.New("no receipt in time")
	// ErrNodeGone means that a node certainly did not get what was forwarded to it.
	// Any other error of a forward leaves that open.
	ErrNodeGone = errors.New("no such node")
)
