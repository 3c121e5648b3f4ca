package admin

import (
	"fmt"
	"strings"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/hub"
)

// VerdictCode is why a user did or did not receive a message.
type VerdictCode string

// The closed set of verdicts.
const (
	NeverPublished VerdictCode = "never_published"    // the stream never had it, as far as known
	Poison         VerdictCode = "poison"             // broke the rules
	NoSocket       VerdictCode = "no_socket"          // the user was offline, and the message was not to wait
	Queued         VerdictCode = "queued"             // waits for the user
	Pushed         VerdictCode = "pushed"             // a socket took it
	DeadTab        VerdictCode = "pushed_dead_tab"    // a socket took it whose client was probably gone
	SlowSocket     VerdictCode = "slow_socket_closed" // its socket was closed because the client read too slowly
	Expired        VerdictCode = "history_expired"    // waited, and no socket came in time
	InFlight       VerdictCode = "in_flight"          // has no outcome yet
	DuplicateCode  VerdictCode = "duplicate"          // every socket had it before
)

// Verdict is a judgement and its grounds, for operators.
type Verdict struct {
	Code VerdictCode `json:"code"`
	Text string      `json:"text"`
}

// evidence is what is known of one message and its user.
type evidence struct {
	now     time.Time
	record  *bridge.DeliveryRecord // nil: there is none, or not yet
	offset  bridge.Offset
	kept    bool          // the history still has it
	taken   bridge.Offset // up to here a socket of the user has received
	sockets []Socket      // of the user, now
	events  []Event       // of the user's sockets, newest first
	missing []bridge.NodeID

	pingWindow time.Duration // see Deps.PingWindow
	historyTTL time.Duration
	topic      func(subject string) string
}

// slowWindow is how long before its end a slow socket may have been given messages that its client
// never read.
const slowWindow = time.Minute

// pingSlack is how much later than the ping time-out a dead connection may be closed.
const pingSlack = time.Second

// judge decides what the evidence means.
func judge(e evidence) Verdict {
	if e.record == nil {
		return e.withoutRecord()
	}
	t := e.record
	switch t.Outcome {
	case bridge.Dead:
		return Verdict{Poison, fmt.Sprintf("Published on %s, read at %s and refused: %s. It was sent to no client; it is in the dead letters. Fix its publisher, then run `socketbridge dead replay`.", t.Subject, clock(t.Read), t.Code)}
	case bridge.Duplicate:
		return Verdict{DuplicateCode, fmt.Sprintf("Read at %s, when every socket of the user had it already: a replay after a change of leader. No action is needed.", clock(t.Read))}
	case bridge.Offline:
		return Verdict{NoSocket, fmt.Sprintf("At %s the user had no socket on any node, and the sender did not want it queued (/sendPayload answers 404): it is gone. %s Senders that want it queued use ?queue=true, or publish without Bridge-Offline.", clock(t.Read), e.lastSeen(t.Read))}
	case bridge.Inboxed:
		return e.inboxed()
	case bridge.Pushed:
		return e.pushed()
	}
	return Verdict{InFlight, "It has an outcome that this version does not know: " + string(t.Outcome) + "."}
}

// withoutRecord judges a message without a delivery record: it is being handled, or records are
// not kept, or its record has expired.
func (e evidence) withoutRecord() Verdict {
	switch {
	case !e.kept:
		return Verdict{InFlight, "It is in the stream and has no outcome yet: the leader has not come to it. See the lag and the leader in the cluster's state."}
	case !e.offset.After(e.taken):
		return Verdict{Pushed, "A socket of the user has received it. Which one is not known: its trace is gone, or not saved yet."}
	}
	return Verdict{InFlight, "It is in the user's history and has no outcome yet, or its trace is gone. The user's next socket is given it, if none was."}
}

// inboxed judges a message that no socket took when it was routed.
func (e evidence) inboxed() Verdict {
	t := e.record
	if s, closed, ok := e.closedSlow(); ok && e.offset.After(e.taken) {
		return Verdict{SlowSocket, fmt.Sprintf("At %s socket %s did not read fast enough for it and was closed at %s (%s). It waits in the history: the client gets it when it resumes.", clock(t.Read), s, clock(closed.At), closed.Reason)}
	}
	if end, ok := e.lastEnd(t.Read); ok && end.Reason == reasonSlow && t.Read.Sub(end.At) < slowWindow && e.offset.After(e.taken) && e.kept {
		return Verdict{SlowSocket, fmt.Sprintf("At %s the user was offline: the last socket, %s, had been closed as slow at %s, and its client has not come back. It waits in the history: the client gets it when it resumes.", clock(t.Read), end.Socket, clock(end.At))}
	}
	until := t.Settled.Add(e.historyTTL)
	came, known := e.firstSince(t.Read)
	switch {
	case e.kept && e.offset.After(e.taken):
		return Verdict{Queued, fmt.Sprintf("At %s no socket of the user took it. It waits in the history until about %s and is given to the user's next socket. %s", clock(t.Read), clock(until), e.lastSeen(e.now))}
	case known && (e.kept || !came.at.After(until)) && !e.offset.After(e.taken):
		return Verdict{Pushed, fmt.Sprintf("At %s the user was offline; it waited and was given to socket %s on node %s, which came at %s.", clock(t.Read), came.socket, came.node, clock(came.at))}
	case !e.offset.After(e.taken) && (e.kept || !known && e.now.Before(until)):
		return Verdict{Pushed, fmt.Sprintf("At %s the user was offline; it waited, and a socket of the user has received it since. Which one is not known any more%s.", clock(t.Read), e.unreachableNodes())}
	}
	text := fmt.Sprintf("At %s the user was offline; it waited for %v (history.ttl, or until history.max_per_user newer ones had come) and is no longer kept.", clock(t.Read), e.historyTTL)
	if known {
		text += fmt.Sprintf(" The user's next socket, %s on node %s, came at %s: too late.", came.socket, came.node, clock(came.at))
	} else {
		text += " No socket of the user has come since, as far as is known" + e.unreachableNodes() + "."
	}
	return Verdict{Expired, text + " The client has to load its state again."}
}

// fate is what happened to a socket after it was given a message.
type fate int

const (
	unknown fate = iota // its node is gone, or no longer remembers it
	alive
	left // closed for another reason than those below
	deadTab
	slow
)

// pushed judges a message that a socket took.
func (e evidence) pushed() Verdict {
	t := e.record
	var took, acked, tried int
	fates := make(map[fate][]string)
	ends := make(map[fate]Event)
	for _, try := range t.Nodes {
		took, acked = took+try.Took, acked+try.Acked
		if try.Took == 0 {
			continue
		}
		for _, s := range try.Sockets {
			tried++
			f, end := e.fateOf(s)
			fates[f] = append(fates[f], string(s))
			ends[f] = end
		}
	}
	at := clock(t.Settled)
	switch {
	case acked > 0:
		return Verdict{Pushed, fmt.Sprintf("Given to %d socket(s) at %s; %d client(s) confirmed it. What the client did with it is not known to the bridge.", took, at, acked)}
	case len(fates[alive]) > 0:
		return Verdict{Pushed, fmt.Sprintf("Given to %d socket(s) at %s; of them %s is still connected, or came back and resumed. If the client shows nothing, check its listener for %q.", took, at, strings.Join(fates[alive], ", "), e.topic(t.Subject))}
	case len(fates[left]) > 0:
		end := ends[left]
		return Verdict{Pushed, fmt.Sprintf("Given to socket %s at %s, which was open until %s (%s).", strings.Join(fates[left], ", "), at, clock(end.At), end.Reason)}
	case len(fates[slow]) > 0:
		end := ends[slow]
		return Verdict{SlowSocket, fmt.Sprintf("Given to socket %s at %s, but the client did not read: the socket was closed as slow at %s with the message perhaps still queued, and has not come back. When the client resumes it gets it; see sockets.max_pending and what else that client is sent.", strings.Join(fates[slow], ", "), at, clock(end.At))}
	case len(fates[deadTab]) > 0:
		end := ends[deadTab]
		return Verdict{DeadTab, fmt.Sprintf("Given to socket %s at %s, but its client was probably gone: it answered no ping and was closed at %s, %v later. The user had no other socket. A client that resumes gets it; a new one has to load its state.", strings.Join(fates[deadTab], ", "), at, clock(end.At), end.At.Sub(t.Settled).Round(time.Millisecond))}
	case tried == 0:
		return Verdict{Pushed, fmt.Sprintf("Given at %s to a socket that registered in that moment.", at)}
	}
	return Verdict{Pushed, fmt.Sprintf("Given to socket %s at %s. What happened to that socket is not known%s.", strings.Join(fates[unknown], ", "), at, e.unreachableNodes())}
}

// fateOf tells what happened to a socket after it was given the message.
func (e evidence) fateOf(s bridge.SocketID) (fate, Event) {
	for _, open := range e.sockets {
		if open.Socket == s {
			return alive, Event{} // also when it was away in between: it resumed by offset
		}
	}
	// Of the events of this socket after the message, the oldest is what ended it.
	var end Event
	for _, event := range e.events { // newest first
		switch {
		case event.Socket != s || event.At.Before(moment(e.record.Settled)):
			continue
		case event.Event == hub.SocketResumed:
			return alive, event
		case event.Event == hub.SocketDisconnected:
			end = event
		}
	}
	after := end.At.Sub(e.record.Settled)
	switch {
	case end.At.IsZero():
		return unknown, end
	case end.Reason == reasonPing && after <= e.pingWindow+pingSlack && end.Acked.Compare(e.offset) < 0:
		return deadTab, end
	case end.Reason == reasonSlow && after <= slowWindow:
		return slow, end
	}
	return left, end
}

// closedSlow finds a socket that was to be given the message and was closed at that moment
// because its client read too slowly.
func (e evidence) closedSlow() (bridge.SocketID, Event, bool) {
	for _, try := range e.record.Nodes {
		for _, s := range try.Sockets {
			for _, event := range e.events {
				if event.Socket == s && event.Reason == reasonSlow && event.At.After(e.record.Read.Add(-time.Second)) && event.At.Before(e.record.Settled.Add(slowWindow)) {
					return s, event, true
				}
			}
		}
	}
	return "", Event{}, false
}

// arrival is a socket that connected.
type arrival struct {
	at     time.Time
	socket bridge.SocketID
	node   bridge.NodeID
}

// firstSince finds the first socket of the user that connected or resumed after a time.
func (e evidence) firstSince(t time.Time) (first arrival, known bool) {
	take := func(a arrival) {
		if !a.at.Before(moment(t)) && (!known || a.at.Before(first.at)) {
			first, known = a, true
		}
	}
	for _, event := range e.events {
		if event.Event != hub.SocketDisconnected {
			take(arrival{event.At, event.Socket, event.Node})
		}
	}
	for _, s := range e.sockets {
		take(arrival{s.Since, s.Socket, s.Node})
	}
	return first, known
}

// lastEnd finds the last socket of the user that had left before a time.
func (e evidence) lastEnd(t time.Time) (Event, bool) {
	for _, event := range e.events { // newest first
		if event.Event == hub.SocketDisconnected && !event.At.After(t) {
			return event, true
		}
	}
	return Event{}, false
}

// lastSeen says when the user was last connected before a time.
func (e evidence) lastSeen(t time.Time) string {
	end, known := e.lastEnd(t)
	if !known {
		return "No earlier socket of the user is remembered" + e.unreachableNodes() + "."
	}
	return fmt.Sprintf("The last one, %s, had left at %s (%s).", end.Socket, clock(end.At), end.Reason)
}

// unreachableNodes names the nodes that did not contribute to the evidence.
func (e evidence) unreachableNodes() string {
	if len(e.missing) == 0 {
		return ""
	}
	names := make([]string, len(e.missing))
	for i, node := range e.missing {
		names[i] = string(node)
	}
	return " (node " + strings.Join(names, ", ") + " did not answer)"
}

// clock is a time as texts have it.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000 UTC") }
