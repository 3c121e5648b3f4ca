package bridge

import (
	"context"
	"errors"
	"time"
)

// A Store keeps what must outlive a process: where every user's sockets are,
// each user's recent messages, and how far the stream was read. It is one
// interface with two implementations, Redis and memory, that pass one suite
// ([bridgetest.TestStore]). Callers declare the part they use.
//
// All methods are safe for concurrent use, honour the context's deadline and
// never wait longer than the implementation's own limit for one call.
type Store interface {
	Log
	Registry
	Sessions
	Traces
	Leases
	// Ping reports whether the store answers.
	Ping(ctx context.Context) error
	Close() error
}

// Log is the append side: what the leader's router writes.
type Log interface {
	// Append appends each entry to its user's history and returns, in the same
	// order, what it found. It is idempotent: an entry whose offset is not after
	// the user's last one is refused, not appended again. After an error some
	// entries may have been appended; calling it again with the same entries is
	// the right thing to do. [ErrRefused] means that one of the entries, at least, can never be
	// appended: what the store has under its user's keys is not the bridge's.
	Append(ctx context.Context, entries []Entry) ([]Appended, error)
	// Withdraw removes an entry that was appended and that no socket took, unless
	// a socket of the user has registered since then and so may have read it. It
	// reports whether the entry is gone.
	Withdraw(ctx context.Context, user UserID, at Offset) (bool, error)
}

// Entry is one message to append.
type Entry struct {
	*Envelope
	// OnlyIfPresent appends only when a live socket of the user is registered, or
	// was at the user's last message. A sender who is told "offline" must never see
	// the message arrive later: when nobody turns out to be there, withdraw it.
	OnlyIfPresent bool
}

// Appended is what [Log.Append] found for one entry.
type Appended struct {
	Sockets []Presence // the user's sockets on live nodes, oldest first
	Refused bool       // the history already had this offset or a later one
	Absent  bool       // OnlyIfPresent was set and nobody was there: not appended
	// Before is the user's message before this one, as the history has it; zero
	// when none is known. It may name one that was withdrawn.
	Before Offset
}

// Presence is the fact that a user has a socket on a node. It is believed only
// while the node's lease lives.
type Presence struct {
	Socket SocketID
	Node   NodeID
	Since  time.Time // by the store's clock, never the node's
}

// Registry is who is where: what the gateway's hub writes and everybody reads.
type Registry interface {
	// Register records that the user has this socket on this node and then reads
	// what the socket has missed, in that order, so that a message appended at
	// any moment is either in the replay or its look-up finds this socket.
	// Registering a socket again overwrites its earlier registration.
	Register(ctx context.Context, r Registration) (Replay, error)
	// Renew makes sure that registrations that this node made are still there, for a store may
	// go back to an earlier state without a word. It writes those that are not, and reports
	// which in the order of the calls; it takes the place of no later registration of the same
	// socket id. After an error any of them may have been written.
	Renew(ctx context.Context, renewals []Renewal) (lost []bool, err error)
	// Unregister removes this registration of the socket, and no later one of the
	// same id, and records what the socket was given, as Taken does.
	Unregister(ctx context.Context, r Registration, given Delivered) error
	// Locate returns the user's sockets on live nodes, oldest first.
	Locate(ctx context.Context, user UserID) ([]Presence, error)
	// Read returns the next messages of a user after an offset, at most limit.
	Read(ctx context.Context, user UserID, after Offset, limit int) (Replay, error)
	// Taken records what users' sockets were given. A user's delivered offset moves
	// from within such a range to its end: it never goes back, and never over a
	// message that no socket was given.
	Taken(ctx context.Context, given []Delivered) error
	// Marks returns how far any socket of the user has received, as Taken and
	// Unregister have recorded it, and the user's last message. Each is zero when it
	// is not known.
	Marks(ctx context.Context, user UserID) (taken, last Offset, err error)
}

// Registration is one socket's entry in the registry.
type Registration struct {
	User   UserID
	Socket SocketID
	// Token tells this registration from an earlier or later one of the same
	// socket id: a recovered socket keeps its id, and its old connection's end
	// must not remove it.
	Token string
	// After is where the replay starts. Nil means: at the inbox, that is, after
	// the last message that any socket of the user has taken.
	After *Offset
	// Limit is the most messages that the first page of the replay may have.
	Limit int
	// PID is the private id under which the socket's session is saved in the same
	// step. Empty: none is.
	PID string
}

// Renewal is a registration that is made sure of.
type Renewal struct {
	User   UserID
	Socket SocketID
	Token  string // of the registration
	// Age is how long ago it was made: what was lost keeps its place among the user's sockets.
	Age time.Duration
}

// Session is the session that is saved with the registration.
func (r Registration) Session() Session { return Session{User: r.User, Socket: r.Socket} }

// Delivered says that sockets of a user were given each message after From, up to To.
// What a client claims to have received is in no such range.
type Delivered struct {
	User     UserID
	From, To Offset
}

// IsZero reports whether d says nothing.
func (d Delivered) IsZero() bool { return !d.To.After(d.From) }

// Join returns the union of two ranges of one user. It reports false when they do not
// meet, so that a message between them may have been given to no socket.
func (d Delivered) Join(o Delivered) (Delivered, bool) {
	if d.From.After(o.To) || o.From.After(d.To) {
		return d, false
	}
	if d.From.After(o.From) {
		d.From = o.From
	}
	d.To = d.To.Max(o.To)
	return d, true
}

// Replay is one page of a user's history.
type Replay struct {
	Entries []*Envelope // in order
	More    bool        // the page is full; read on after the last entry
	// Gap is true when messages between the offset asked for and the first one
	// returned are no longer kept.
	Gap  bool
	From Offset // where the page starts: what was asked for, or the user's delivered offset
	Last Offset // the user's last offset; zero when none is known
	// Before is the user's message before the first entry, and Last when there is no
	// entry. With a gap it is one that is no longer kept.
	Before Offset
	// Sockets is, of [Registry.Register], how many of the user's are recorded, this
	// one among them. Some may be those of dead nodes: Locate knows.
	Sockets int
	// Replaced is, of [Registry.Register], the registration of the same socket id on
	// another node, which this one has replaced. Its Node is empty when there was none.
	Replaced Replaced
}

// Replaced names a registration that another of the same socket id has replaced, on
// another node. No message comes to the socket that it was made for.
type Replaced struct {
	Node   NodeID   `json:"-"` // whose socket it was
	User   UserID   `json:"user"`
	Socket SocketID `json:"socket"`
	Token  string   `json:"token"`
}

// Session lets a browser that lost its connection be recognised on any node.
type Session struct {
	User   UserID
	Socket SocketID
	// Given is how far the client's socket was given messages, where the client does not
	// keep its cursor itself. Such a session has no Socket.
	Given Offset
}

// Sessions is what connection state recovery needs. A session is saved while the
// socket lives, because a killed node saves nothing at its end.
type Sessions interface {
	// SaveSessions stores each session under its private id, for the session
	// lifetime of the store's configuration. A user has a bounded number of
	// sessions: saving one more evicts the one that was saved longest ago. That
	// holds for [Registry.Register] too, and with any number of nodes.
	SaveSessions(ctx context.Context, sessions map[string]Session) error
	// Session returns ErrNoSession when the id is unknown or has lapsed.
	Session(ctx context.Context, pid string) (Session, error)
	// DropSession deletes a session of the user. One that is unknown, or has become
	// another user's, is no error.
	DropSession(ctx context.Context, user UserID, pid string) error
}

// ErrNoSession means that a private session id is unknown.
var ErrNoSession = errors.New("no such session")

// Traces keep what happened to each message, for longer than the history keeps
// the message itself.
type Traces interface {
	// SaveTraces adds to what is kept of each block. It keeps nothing of what it is given.
	SaveTraces(ctx context.Context, blocks []TraceBlock) error
	// Trace returns ErrNoTrace when nothing is known of the message.
	Trace(ctx context.Context, at Offset) (Trace, error)
	// TracesOf looks backwards for what is known of a user's messages, beginning
	// with the block that from is in and no further back than [TraceWindow] blocks,
	// so that one call costs the store little. found is newest first. next is where
	// to look on, zero when nothing older is kept.
	TracesOf(ctx context.Context, user UserID, from Offset) (found []Trace, next Offset, err error)
}

// Leases is how nodes know of each other, and where the leader keeps how far it has
// read the stream. Who leads is decided in NATS. All deadlines are by the store's clock.
type Leases interface {
	// Beat renews the lease under which this node's registrations are believed.
	// rejoined is true when the lease had lapsed or the store lost it: every
	// registration of this node is void and must be made again.
	Beat(ctx context.Context) (rejoined bool, err error)
	// WentBack returns how many parts of the store were found in an earlier state since the
	// last call, though the lease may live: every registration of this node must be made sure
	// of. It is called each second. With an error too, parts may have gone back. For some
	// seconds after that Locate does not say that a user has no socket, but returns
	// [ErrUnavailable].
	WentBack(ctx context.Context) (parts int, err error)
	// Leave gives the node lease up; its registrations are void at once.
	Leave(ctx context.Context) error
	// Nodes lists the nodes whose lease lives.
	Nodes(ctx context.Context) ([]NodeID, error)

	// Claim makes term the only one whose leader may write the checkpoint. It returns
	// ErrNotLeader when a greater term was claimed.
	Claim(ctx context.Context, term uint64) error
	// Checkpoint returns the greatest term claimed and how far the stream was read; each
	// is zero when it is unknown.
	Checkpoint(ctx context.Context) (term uint64, o Offset, err error)
	// SaveCheckpoint records that everything up to o was appended and handed on. It
	// never goes back, so a zero offset only confirms the term. It returns ErrNotLeader
	// unless term was the last one claimed; a store that lost its data knows no term, and
	// the caller then starts again from the checkpoint in a new one.
	SaveCheckpoint(ctx context.Context, term uint64, o Offset) error
}

// ErrNotLeader means that the term is not, or no longer, the one that was claimed last.
var ErrNotLeader = errors.New("not the leader")
