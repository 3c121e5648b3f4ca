package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
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
	pads []string
}

func newMill(users, size int) *mill {
	m := &mill{sent: make([]uint64, users), size: size}
	r := rand.New(rand.NewPCG(1, 2)) // the same in each run
	for range 16 {
		m.pads = append(m.pads, verdict(r, size))
	}
	return m
}

// verdict makes the members of a message about a submission, which says as much again and
// again as such messages do: what it compresses to is a figure too. It is at least n bytes long; its
// last member is a string that may be cut.
func verdict(r *rand.Rand, n int) string {
	b := fmt.Appendf(nil, `"submissionId":"sub_%08x","status":"IN_PROGRESS"`, r.Uint32())
	const rest = 150 // what is beside the results
	for i := 0; len(b) < n-rest; i++ {
		b = append(b, []string{`,"results":[`, `,`}[min(i, 1)]...)
		b = fmt.Appendf(b, `{"testCase":%d,"status":"%s","executionTime":"%dms","memoryUsed":"%.1fMB"}`,
			i, []string{"ACCEPTED", "ACCEPTED", "ACCEPTED", "WRONG_ANSWER"}[r.IntN(4)], r.IntN(300), 64*r.Float64())
		if len(b) >= n-rest {
			b = append(b, ']')
		}
	}
	b = append(b, `,"output":"`...)
	for len(b) < n {
		b = strconv.AppendInt(append(b, ' '), r.Int64N(100_000), 10)
	}
	return string(b)
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
	b = append(b, ',')
	pad := m.pads[m.sent[user]%uint64(len(m.pads))]
	b = append(b, pad[:m.size-(len(b)-start)-2]...)
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
