package bridge

import "time"

// Headers that a publisher may set on a message.
const (
	// HeaderReceipt names a subject to which the receipt of the message is published.
	HeaderReceipt = "Bridge-Receipt"
	// HeaderOffline with the value [OfflineDrop] says that the message is of no
	// use later: when no socket of the user is there it is not kept.
	HeaderOffline = "Bridge-Offline"
	OfflineDrop   = "drop"
	// HeaderAck with the value [AckClient] asks the pages themselves to confirm.
	HeaderAck = "Bridge-Ack"
	AckClient = "client"
)

// Message is one message as the stream has it, before decoding.
type Message struct {
	Offset  Offset
	Subject string
	Topic   string    // the subject without the prefix
	Stored  time.Time // when the stream took it, by the clock of the NATS server
	Header  map[string][]string
	Body    []byte
}

// header returns the first value of a header field. NATS headers are case-sensitive.
func (m *Message) header(key string) string {
	if v := m.Header[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// checkOptions refuses an option whose value is not known: ignoring it would do
// something else than its publisher wants.
func (m *Message) checkOptions() error {
	for _, option := range [...]struct{ header, known string }{{HeaderOffline, OfflineDrop}, {HeaderAck, AckClient}} {
		for _, value := range m.Header[option.header] {
			if value != option.known {
				return InvalidOption(option.header, option.known)
			}
		}
	}
	return nil
}

// Envelope is one decoded message: for whom, under which name, and what.
type Envelope struct {
	User  UserID
	Topic string
	// Payload is a JSON object, valid and of bounded depth, in the sender's own
	// spelling. It is never parsed again and never logged. Read-only: it may be
	// shared by many sockets.
	Payload []byte
	Offset  Offset
	// Stored is as in [Message]. Not kept in the history: zero in a replay.
	Stored time.Time
	// Before is the user's message before this one; zero when that is not known.
	// A socket that was not given it has missed something. Not kept in the history.
	Before Offset
	// Parent is the traceparent of the step that pushing this is a part of; empty
	// when the message is not followed. Not kept in the history.
	Parent string
	// Ack is how long pages have to confirm a live message; zero when they need
	// not. It is not kept in the history.
	Ack time.Duration
}

// Count is what one gateway did with one envelope.
type Count struct {
	Took  int // sockets that were given it, or will find it in the replay they are in
	Seen  int // sockets that already had it
	Acked int // sockets whose page has confirmed it, where that was asked
}

// Add sums counts of several nodes.
func (c Count) Add(d Count) Count {
	return Count{c.Took + d.Took, c.Seen + d.Seen, c.Acked + d.Acked}
}
