package subscriber

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/bridge"
)

// Letter is one dead letter: a message that broke the rules, and why.
type Letter struct {
	Seq     uint64    // its place in the dead letters' stream, by which it is named
	At      time.Time // when it was stored there
	Code    string    // why, for programs
	Reason  string    // why, for people
	Subject string    // where the message was published
	Offset  bridge.Offset
	User    bridge.UserID // empty where none could be read out of the body
	Size    int           // bytes of the message's body, as it was published
	// Cut says that Body is only the beginning, or that some of Header are missing, because
	// NATS did not take them together with the reason.
	Cut    bool
	Header map[string][]string // the message's own
	Body   []byte              // not in letters from [DeadLetters.List]
}

// readLetter reads what [Client.DeadLetter] wrote. What another program has put
// into the stream becomes a letter without a subject, which cannot be replayed.
// size is that of the stored body.
func readLetter(seq uint64, at time.Time, subject string, header nats.Header, size int) Letter {
	l := Letter{
		Seq: seq, At: at, Size: size, Header: make(map[string][]string),
		Code:    header.Get(HeaderDeadCode),
		Reason:  header.Get(HeaderDeadReason),
		Subject: header.Get(HeaderDeadSubject),
		User:    userOf(header.Get(HeaderDeadUser)),
	}
	if l.Code == "" {
		l.Code = strings.ToUpper(subject[strings.LastIndexByte(subject, '.')+1:])
	}
	if o, err := bridge.ParseOffset(header.Get(HeaderDeadOffset)); err == nil {
		l.Offset = o
	}
	if n, err := strconv.Atoi(header.Get(HeaderDeadCut)); err == nil {
		l.Size, l.Cut = n, true
	}
	if header.Get(HeaderDeadOmitted) != "" {
		l.Cut = true
	}
	for name, values := range header {
		if own, ok := strings.CutPrefix(name, HeaderOriginal); ok {
			l.Header[own] = values
		}
	}
	return l
}

// replayable returns the header to publish a message with again. What the
// publisher told the server about storing it then ("only after sequence 5",
// "replace the others", "third of a batch") would be refused now, or do harm;
// its time to live still means the same.
func replayable(original map[string][]string) nats.Header {
	h := make(nats.Header, len(original)+1)
	for name, values := range original {
		if !strings.HasPrefix(name, "Nats-") || name == ttlHeader {
			h[name] = values
		}
	}
	return h
}

// ttlHeader bounds how long the server keeps a message.
const ttlHeader = "Nats-TTL"
