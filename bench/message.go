package main

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// topic is what every message is published under.
const topic = "bench"

// epoch is the beginning of the one clock: times in messages are nanoseconds since.
// They stay below 2^53, so that JavaScript keeps them exactly.
var epoch = time.Now()

func now() time.Duration { return time.Since(epoch) }

// mill makes the bodies of messages, and numbers them for each user. A user belongs to
// one goroutine at a time.
type mill struct {
	sent []uint64 // by user
	size int      // of a body, in bytes, about
	pad  string
}

func newMill(users, size int) *mill {
	return &mill{make([]uint64, users), size, strings.Repeat("x", size)}
}

// appendBody adds the user's next message to b. With inBody the topic is in it.
func (m *mill) appendBody(b []byte, user int, at time.Duration, inBody bool) []byte {
	m.sent[user]++
	start := len(b)
	b = append(b, `{"userId":"`...)
	b = appendUser(b, user)
	if inBody {
		b = append(b, `","topic":"`+topic...)
	}
	b = append(b, `","n":`...)
	b = strconv.AppendUint(b, m.sent[user], 10)
	b = append(b, `,"t":`...)
	b = strconv.AppendInt(b, int64(at), 10)
	b = append(b, `,"pad":"`...)
	b = append(b, m.pad[:max(m.size-(len(b)-start)-2, 0)]...)
	return append(b, `"}`...)
}

func appendUser(b []byte, user int) []byte {
	return strconv.AppendInt(append(b, "user_"...), int64(user), 10)
}

// eventStart is how every message begins at the browser: without user and topic, the rest
// as it was.
var eventStart = []byte(`42["` + topic + `",{"n":`)

// parseEvent reads the number and the time of a message as the browser gets it.
func parseEvent(text []byte) (n uint64, at time.Duration, ok bool) {
	rest, ok := bytes.CutPrefix(text, eventStart)
	if !ok {
		return 0, 0, false
	}
	n, rest, ok = cutNumber(rest)
	if !ok {
		return 0, 0, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`,"t":`)); !ok {
		return 0, 0, false
	}
	t, _, ok := cutNumber(rest)
	return n, time.Duration(t), ok
}

// cutNumber reads digits from the beginning of b.
func cutNumber(b []byte) (n uint64, rest []byte, ok bool) {
	i := 0
	for i < len(b) && i < 18 && b[i] >= '0' && b[i] <= '9' {
		n = n*10 + uint64(b[i]-'0')
		i++
	}
	return n, b[i:], i > 0
}
