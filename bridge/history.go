package bridge

import "context"

// History returns the messages that a socket has missed. Safe for concurrent use.
type History interface {
	// Read returns the user's messages after an offset, with their payloads. A socket that
	// registers before the call misses none: a message is in the answer, or its user is looked up
	// after the registration. An error means that no leader answers.
	Read(ctx context.Context, q HistoryQuery) (Replay, error)
}

// HistoryQuery asks for a user's messages after an offset.
type HistoryQuery struct {
	User  UserID
	After Offset
	// Inbox means that After is the user's delivered offset, not the claim of a client. Messages that
	// are no longer kept are then no gap, as no client was promised them. Messages that the stream
	// has lost are a gap, for as long as they would have been kept.
	Inbox bool
	Limit int  // the most messages
	Peek  bool // an operator asks: no socket receives the messages
}

// Replay is one batch of a user's history.
type Replay struct {
	Entries []*Envelope // in order
	More    bool        // the batch is full; the next one begins after the last entry
	// Gap is true when messages between the offset asked for and the first one
	// returned are no longer kept.
	Gap  bool
	From Offset // the offset asked for
	Last Offset // the user's last message; zero: none is known
	// Before is the user's message before the first entry, and Last when there is no entry. When
	// that is not known, it is an offset before which nothing is known.
	Before Offset
	// Horizon is up to where the leader had read the stream, in its Term.
	Horizon Offset
	Term    uint64
	// Undecided means that a withdrawal of one of the user's messages is not recorded yet. The caller
	// must ask again; the other fields have no meaning then.
	Undecided bool
}
