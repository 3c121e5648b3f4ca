package bridge

import "context"

// A History answers what a socket has missed. Safe for concurrent use.
type History interface {
	// Read returns the user's messages after an offset, with their payloads. A socket that
	// registers before it is asked for misses none: a message is in the answer, or is looked up
	// after the registration. An error means that no leader can answer now.
	Read(ctx context.Context, q HistoryQuery) (Replay, error)
}

// HistoryQuery asks for a user's messages after an offset.
type HistoryQuery struct {
	User  UserID
	After Offset
	// Inbox says that After is how far sockets of the user have received, and not what a client
	// has claimed: what is no longer kept was promised to no client then, and is no gap. But what
	// the stream has lost is one, for as long as it would have been kept.
	Inbox bool
	Limit int  // the most messages
	Peek  bool // an operator asks: no socket is given what is found
}

// Replay is one page of a user's history.
type Replay struct {
	Entries []*Envelope // in order
	More    bool        // the page is full; read on after the last entry
	// Gap is true when messages between the offset asked for and the first one
	// returned are no longer kept.
	Gap  bool
	From Offset // the offset asked for
	Last Offset // the user's last message; zero when none is known
	// Before is the user's message before the first entry, and Last when there is no entry. When
	// that is not known it is an offset before which nothing is known.
	Before Offset
	// Horizon is up to where the leader had read the stream, in its Term.
	Horizon Offset
	Term    uint64
	// Undecided means that a withdrawal of the user's messages is on its way, so that it is not
	// known what the page has: it is to be asked for again. All else is without meaning then.
	Undecided bool
}
