package subscriber

import (
	"errors"
	"fmt"

	"github.com/codewar/socketbridge/bridge"
)

// A forward comes from any NATS client that may publish on this node's subject. These checks prevent
// that an invalid forward breaks a connection (bytes that are not JSON, an event that Socket.IO
// reserves) or silences a socket, which discards messages that are not after its last offset.

const (
	// maxAhead is how many messages a forward may be ahead of the last known state of the stream. The
	// state is at most lookEvery old, so this bounds the stream's rate at 200,000 a second.
	maxAhead = 1 << 20
	// maxParent bounds, in bytes, a traceparent, which has 55.
	maxParent = 128
)

var (
	errForwardUser    = errors.New("user id is not valid")
	errForwardTopic   = errors.New("topic is not valid")
	errForwardPayload = errors.New("payload is no JSON object")
	errForwardOffset  = errors.New("offset is not of this stream")
	errForwardOrder   = errors.New("offset is not after the one before it")
	errForwardParent  = errors.New("traceparent is too long")
)

// checkForward returns the first reason not to push a batch. stream is the last known state.
func checkForward(batch []*bridge.Envelope, stream streamState) error {
	for i, e := range batch {
		if err := checkEnvelope(e, stream); err != nil {
			return fmt.Errorf("envelope %d: %w", i, err)
		}
	}
	return nil
}

func checkEnvelope(e *bridge.Envelope, stream streamState) error {
	switch {
	case !bridge.ValidUserID(string(e.User)):
		return errForwardUser
	case !bridge.ValidTopic(e.Topic):
		return errForwardTopic
	case e.Offset.After(bridge.Offset{Epoch: stream.epoch, Seq: stream.last + maxAhead}):
		return errForwardOffset
	case !e.Offset.After(e.Before):
		return errForwardOrder
	case len(e.Parent) > maxParent:
		return errForwardParent
	case !bridge.ValidPayload(e.Payload):
		return errForwardPayload
	}
	return nil
}
