package bridge

import "time"

// Outcome is the result of one message. Every message read from the stream
// ends in exactly one.
type Outcome string

// The closed set of outcomes.
const (
	Pushed    Outcome = "pushed"    // at least one socket of the user took it
	Inboxed   Outcome = "inboxed"   // no socket has it yet; it waits in the user's history
	Offline   Outcome = "offline"   // no socket was there and the sender did not ask to keep it
	Duplicate Outcome = "duplicate" // every socket already had it: a replay after a crash
	Dead      Outcome = "dead"      // invalid; it is in the stream of dead letters with the reason
)

var outcomes = [...]Outcome{Pushed, Inboxed, Offline, Duplicate, Dead}

// Outcomes lists the closed set, for metrics that start at zero and for tests.
func Outcomes() []Outcome { return outcomes[:] }

// Settlement is a message with its outcome.
type Settlement struct {
	Offset  Offset
	User    UserID // of an invalid message: as [FindUser] has found it
	Topic   string
	Outcome Outcome
	Sockets int // how many took it
	Code    string
	Read    time.Time // when the router received it
}

// Receipt is the result of one message for its sender: the HTTP caller
// or a publisher that named a receipt subject.
type Receipt struct {
	Outcome Outcome `json:"outcome"`
	Sockets int     `json:"sockets"` // how many sockets took it
	// Unsure is true for a message that its sender did not ask to keep, when it is not known
	// whether a socket has it, or whether a later socket will receive it.
	Unsure bool `json:"unsure,omitempty"`
	// Acks is how many clients confirmed it, and AckMillis the time until the last
	// confirmation or the time-out. Both are missing when none was asked for.
	Acks      *int      `json:"acks,omitempty"`
	AckMillis float64   `json:"ackMs,omitempty"`
	Offset    Offset    `json:"offset"`
	Topic     string    `json:"topic,omitempty"`
	Code      string    `json:"code,omitempty"` // why, when Outcome is Dead
	At        time.Time `json:"timestamp"`
}
