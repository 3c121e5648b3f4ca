package bridge

import "time"

// Headers that a publisher may set on a message.
const (
	// HeaderReceipt names a subject to which the receipt of the message is published.
	HeaderReceipt = "Bridge-Receipt"
	// HeaderOffline with the value [OfflineDrop] asks not to keep the message when the user has
	// no socket.
	HeaderOffline = "Bridge-Offline"
	OfflineDrop   = "drop"
	// HeaderAck with the value [AckClient] asks the clients to confirm the message.
	HeaderAck = "Bridge-Ack"
	AckClient = "client"
)

// Message is a message of the stream before decoding.
type Message struct {
	Offset  Offset
	Subject string
	Topic   string    // the subject without the prefix
	Stored  time.Time // when the stream stored it, by the clock of the NATS server
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

// checkOptions refuses an option with an unknown value: to ignore it would be
// different from what the publisher wants.
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

// Envelope is a decoded message: its user, topic and payload.
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
	// Before is the user's message before this one; zero: not known.
	// A socket without that message has missed something. Not kept in the history.
	Before Offset
	// Parent is the traceparent of the step that the push is a part of; empty
	// when the message is not traced. Not kept in the history.
	Parent string
	// Ack is how long clients may take to confirm a live message; zero: they need
	// not. Not kept in the history.
	Ack time.Duration
}

// Count is what one gateway did with one envelope.
type Count struct {
	Took  int // sockets that received it, or will find it in their current replay
	Seen  int // sockets that already had it
	Acked int // sockets whose client has confirmed it, when that was asked for
}

// Add sums counts of several nodes.
func (c Count) Add(d Count) Count {
	return Count{c.Took + d.Took, c.Seen + d.Seen, c.Acked + d.Acked}
}
