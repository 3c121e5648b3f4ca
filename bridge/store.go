package bridge

import (
	"context"
	"errors"
	"time"
)

// A Store keeps what nodes must know of each other: where every user's sockets are, how far
// they have received, and the sessions of clients. It is one interface with two
// implementations, Redis and memory, that pass one suite ([bridgetest.TestStore]). Messages
// are not in it: the stream keeps them. Callers declare the part they use.
//
// All methods are safe for concurrent use, honour the context's deadline and
// never wait longer than the implementation's own limit for one call.
type Store interface {
	Registry
	Sessions
	Leases
	// Ping reports whether the store answers.
	Ping(ctx context.Context) error
	Close() error
}

// Presence is the fact that a user has a socket on a node. It counts only
// while the node's lease lives.
type Presence struct {
	Socket SocketID
	Node   NodeID
	Since  time.Time // by the store's clock, never the node's
}

// Registry is who is where: what the gateway's hub writes and the router reads.
type Registry interface {
	// Register records that the user has this socket on this node.
	// Registering a socket again overwrites its earlier registration.
	Register(ctx context.Context, r Registration) (Registered, error)
	// Renew makes sure that registrations that this node made are still there, for a store may
	// go back to an earlier state without a word. It writes those that are not, and reports
	// which in the order of the calls; it takes the place of no later registration of the same
	// socket id. After an error any of them may have been written.
	Renew(ctx context.Context, renewals []Renewal) (lost []bool, err error)
	// Unregister removes this registration of the socket, and no later one of the
	// same id, and records what the socket was given, as Taken does.
	Unregister(ctx context.Context, r Registration, given Delivered) error
	// Locate returns, in the same order, what is known of each user. Users whose part of the
	// store does not answer have an error of their own.
	Locate(ctx context.Context, users []UserID) []Located
	// Taken records what users' sockets were given. A user's delivered offset moves
	// from within such a range to its end: it never goes back, and never over a
	// message that no socket was given.
	Taken(ctx context.Context, given []Delivered) error
	// Delivered returns how far any socket of the user has received, as Taken and
	// Unregister have recorded it; zero when it is not known.
	Delivered(ctx context.Context, user UserID) (Offset, error)
}

// Located is what [Registry.Locate] found for one user.
type Located struct {
	Sockets []Presence // on live nodes, oldest first
	// Err means that it is not known where the user's sockets are.
	Err error
}

// Registration is one socket's entry in the registry.
type Registration struct {
	User   UserID
	Socket SocketID
	// Token tells this registration from an earlier or later one of the same
	// socket id: a recovered socket keeps its id, and its old connection's end
	// must not remove it.
	Token string
	// PID is the private id under which the socket's session is saved in the same
	// step. Empty: none is.
	PID string
}

// Registered is what [Registry.Register] found.
type Registered struct {
	Delivered Offset // as [Registry.Delivered] has it
	// Sockets is how many of the user's are recorded, this one among them. Some may be those of
	// dead nodes: Locate knows.
	Sockets int
	// Replaced is the registration of the same socket id on another node, which this one has
	// replaced. Its Node is empty when there was none.
	Replaced Replaced
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

// Leases is how nodes know of each other. Who leads is decided in NATS. All deadlines are by
// the store's clock.
type Leases interface {
	// Beat renews the lease under which this node's registrations count.
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
	// Serving says whether this node serves, for some seconds, and lists the nodes that do.
	Serving(ctx context.Context, serves bool) ([]NodeID, error)
	// Nodes lists the nodes whose lease lives.
	Nodes(ctx context.Context) ([]NodeID, error)
}
