package bridge

import (
	"context"
	"errors"
	"time"
)

// DeliveryRecord is what happened to one message, for an operator who asks later why a
// user did or did not get it.
type DeliveryRecord struct {
	Offset  Offset         `json:"offset"`
	Subject string         `json:"subject"`
	User    UserID         `json:"userId,omitempty"` // empty when it could not be read
	Read    time.Time      `json:"read"`
	Settled time.Time      `json:"settled"`
	Outcome Outcome        `json:"outcome"`
	Code    string         `json:"code,omitempty"` // the rule that was broken, when Outcome is Dead
	Nodes   []NodeDelivery `json:"tries,omitempty"`
}

// NodeDelivery is what one node did with a message.
type NodeDelivery struct {
	Node    NodeID     `json:"node"`
	Sockets []SocketID `json:"sockets"` // of the user that were registered there at the look-up
	Took    int        `json:"took"`    // how many sockets were given it, also some that connected since the look-up
	Seen    int        `json:"seen"`    // how many had it already
	Acked   int        `json:"acked"`
	Error   string     `json:"error,omitempty"` // set when the node did not answer
}

// ErrNoRecord means that nothing is known of a message: it was never read, or its
// record has been removed.
var ErrNoRecord = errors.New("no record of this message")

// Records keep the delivery record of each message, for longer than the history keeps the
// message. Implementations are safe for concurrent use.
type Records interface {
	RecordSaver
	// Record returns [ErrNoRecord] when nothing is known of the message.
	Record(ctx context.Context, at Offset) (DeliveryRecord, error)
	// RecordsOf looks backwards for the records of a user's messages. It begins with the
	// block of from and looks at [RecordWindow] blocks. found is newest first. next is
	// where the next call continues, zero when nothing older is kept.
	RecordsOf(ctx context.Context, user UserID, from Offset) (found []DeliveryRecord, next Offset, err error)
}

// RecordSaver is the writing half of [Records].
type RecordSaver interface {
	// SaveRecords adds to what is kept of each block. It does not retain blocks.
	SaveRecords(ctx context.Context, blocks []RecordBlock) error
}
