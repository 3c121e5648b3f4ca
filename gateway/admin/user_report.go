package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// Reasons of a disconnected socket that verdicts use.
const (
	reasonPing = sio.ReasonPingTimeout
	reasonSlow = sio.ReasonSlow
)

// Limits of one look-up.
const (
	maxEvents   = 200                     // of each node
	searchLimit = 1500 * time.Millisecond // of a search for delivery records
	letterDepth = 2000                    // dead letters
	letterLimit = time.Second
	// historyBatch messages, with their payloads, are held at a time, and at most historyDepth
	// are read.
	historyBatch = 50
	historyDepth = 1000
	// saveDelay is longer than records wait to be saved.
	saveDelay = 200 * time.Millisecond
)

// Socket is one socket of a user.
type Socket struct {
	Socket    bridge.SocketID `json:"socketId"`
	Node      bridge.NodeID   `json:"node"`
	Since     time.Time       `json:"since"`
	Transport string          `json:"transport"`
	Given     bridge.Offset   `json:"lastOffset"`
	Queued    int             `json:"queuedBytes"`
}

// Event is that a socket of a user connected or disconnected.
type Event struct {
	At        time.Time       `json:"at"`
	Event     string          `json:"event"`
	Socket    bridge.SocketID `json:"socketId"`
	Node      bridge.NodeID   `json:"node"`
	Transport string          `json:"transport"`
	Reason    string          `json:"reason"`
	Took      float64         `json:"durationMs"`
	Given     bridge.Offset   `json:"lastOffset,omitzero"`
	Acked     bridge.Offset   `json:"confirmed,omitzero"`
}

// userQuestion asks a node about a user.
type userQuestion struct {
	User bridge.UserID `json:"user"`
}

type userAnswer struct {
	Sockets []Socket       `json:"sockets"`
	Events  []Event        `json:"events"`
	Missed  []notFoundCall `json:"missed"`
}

// notFoundCall is a call of /sendPayload that was answered with 404. Its message was not stored.
type notFoundCall struct {
	At    time.Time     `json:"at"`
	Topic string        `json:"topic"`
	Node  bridge.NodeID `json:"node"`
}

// userHere is what this node knows of a user.
func (sv *Service) userHere(q userQuestion) (a userAnswer) {
	for _, s := range sv.deps.Hub.SocketsOf(q.User) {
		a.Sockets = append(a.Sockets, Socket{s.Socket, sv.deps.Node, moment(s.Since), s.Transport, s.Given, s.Queued})
	}
	for _, e := range sv.deps.Server.Clients().SocketEvents(q.User, maxEvents) {
		a.Events = append(a.Events, Event{moment(e.At), e.Event, e.Socket, sv.deps.Node, e.Transport, e.Reason, millis(e.Took), e.Given, e.Acked})
	}
	for _, m := range sv.deps.Server.Calls().NotFoundCalls(q.User, maxEvents) {
		a.Missed = append(a.Missed, notFoundCall{moment(m.At), m.Topic, sv.deps.Node})
	}
	return a
}

// UserReport is the answer of /api/v1/users/:id: it explains why a user did or did not receive
// messages.
type UserReport struct {
	User     bridge.UserID   `json:"userId"`
	Verdict  Verdict         `json:"verdict"`
	Sockets  []Socket        `json:"sockets"` // oldest first
	Events   []Event         `json:"events"`  // newest first
	Taken    bridge.Offset   `json:"taken"`
	Last     bridge.Offset   `json:"last"`
	Messages []message       `json:"messages"` // newest first
	Dead     []DeadLetter    `json:"dead"`     // newest first
	Missed   []notFoundCall  `json:"missed"`   // newest first
	Missing  []bridge.NodeID `json:"missing"`
	// Partial says what could not be asked, and why.
	Partial []string `json:"partial,omitempty"`
}

// message is one message of a user.
type message struct {
	Offset  bridge.Offset         `json:"offset"`
	Topic   string                `json:"topic"`
	At      *time.Time            `json:"at"`      // when the leader read it; null without a record
	Outcome bridge.Outcome        `json:"outcome"` // empty without a record
	Code    string                `json:"code,omitempty"`
	Verdict Verdict               `json:"verdict"`
	Sockets int                   `json:"sockets"`
	Tries   []bridge.NodeDelivery `json:"tries"`
	Kept    bool                  `json:"kept"` // the history still has it
}

// topicOf is the topic of a subject, without the subject prefix.
func (sv *Service) topicOf(subject string) string {
	return strings.TrimPrefix(subject, sv.deps.SubjectPrefix+".")
}

// userState is what the nodes and the store know of a user.
type userState struct {
	sockets []Socket
	events  []Event
	missed  []notFoundCall
	taken   bridge.Offset
	missing []bridge.NodeID
	partial []string
}

// lookupUser asks the nodes and the store about a user.
func (sv *Service) lookupUser(ctx context.Context, user bridge.UserID) (k userState) {
	answers, missing := gather[userAnswer](ctx, sv, queryUser, userQuestion{user})
	k.missing, k.sockets, k.events, k.missed = missing, []Socket{}, []Event{}, []notFoundCall{}
	for _, a := range answers {
		k.sockets = append(k.sockets, a.Sockets...)
		k.events = append(k.events, a.Events...)
		k.missed = append(k.missed, a.Missed...)
	}
	slices.SortFunc(k.sockets, func(a, b Socket) int { return a.Since.Compare(b.Since) })
	slices.SortStableFunc(k.events, func(a, b Event) int { return b.At.Compare(a.At) })
	k.events = k.events[:min(len(k.events), maxEvents)]
	slices.SortStableFunc(k.missed, func(a, b notFoundCall) int { return b.At.Compare(a.At) })
	var err error
	if k.taken, err = sv.deps.Store.Delivered(ctx, user); err != nil {
		k.partial = append(k.partial, "store: "+err.Error())
	}
	return k
}

// evidence collects what is known of one message.
func (sv *Service) evidence(k *userState, offset bridge.Offset, record *bridge.DeliveryRecord, kept bool) evidence {
	return evidence{
		now: time.Now(), record: record, offset: offset, kept: kept, taken: k.taken, sockets: k.sockets, events: k.events,
		missing: k.missing, pingWindow: sv.deps.PingWindow, historyTTL: sv.deps.HistoryTTL, topic: sv.topicOf,
	}
}

// awaitSave waits until the record of a message of this moment is saved.
func awaitSave(ctx context.Context) {
	select {
	case <-time.After(saveDelay):
	case <-ctx.Done():
	}
}

// report looks a user up.
func (sv *Service) report(ctx context.Context, user bridge.UserID, topic string, limit int) UserReport {
	var (
		dead    []DeadLetter
		deadErr error
		letters sync.WaitGroup
	)
	letters.Go(func() { dead, deadErr = sv.deadLettersOf(ctx, user, topic, limit) })
	k := sv.lookupUser(ctx, user)
	records, history, reach, partial := sv.messagesOf(ctx, user, topic, limit)
	if sv.unsaved(history.last, records) {
		awaitSave(ctx)
		records, history, reach, partial = sv.messagesOf(ctx, user, topic, limit)
	}
	letters.Wait()
	r := UserReport{
		User: user, Sockets: k.sockets, Events: k.events, Taken: k.taken, Last: history.last, Missing: k.missing,
		Messages: sv.messagesFrom(&k, records, history.topics, topic, limit), Dead: append([]DeadLetter{}, dead...), Missed: []notFoundCall{},
		Partial: append(k.partial, partial...),
	}
	if deadErr != nil {
		r.Partial = append(r.Partial, "dead letters: "+deadErr.Error())
	}
	for _, m := range k.missed {
		if (topic == "" || topic == m.Topic) && len(r.Missed) < limit {
			r.Missed = append(r.Missed, m)
		}
	}
	r.Verdict = r.judge(reach)
	return r
}

// messagesFrom judges the messages of records and of the history, newest first.
func (sv *Service) messagesFrom(k *userState, records []bridge.DeliveryRecord, kept map[bridge.Offset]string, topic string, limit int) []message {
	found := []message{}
	for i := range records {
		t := &records[i]
		_, still := kept[t.Offset]
		delete(kept, t.Offset)
		at := moment(t.Read)
		m := message{
			Offset: t.Offset, Topic: sv.topicOf(t.Subject), At: &at, Outcome: t.Outcome, Code: t.Code, Kept: still,
			Tries: append([]bridge.NodeDelivery{}, t.Nodes...), Verdict: judge(sv.evidence(k, t.Offset, t, still)),
		}
		for _, try := range t.Nodes {
			m.Sockets += try.Took
		}
		found = append(found, m)
	}
	for offset, of := range kept {
		if topic == "" || topic == of {
			found = append(found, message{Offset: offset, Topic: of, Kept: true, Tries: []bridge.NodeDelivery{}, Verdict: judge(sv.evidence(k, offset, nil, true))})
		}
	}
	slices.SortFunc(found, func(a, b message) int { return b.Offset.Compare(a.Offset) })
	return found[:min(len(found), limit)]
}

// deadLettersOf searches the newest dead letters for those of a user.
func (sv *Service) deadLettersOf(ctx context.Context, user bridge.UserID, topic string, limit int) (found []DeadLetter, err error) {
	ctx, cancel := context.WithTimeout(ctx, letterLimit)
	defer cancel()
	newest, _, err := sv.deps.DeadLetters(ctx, letterDepth)
	for _, l := range newest {
		if l.User == user && (topic == "" || topic == sv.topicOf(l.Subject)) && len(found) < limit {
			found = append(found, l)
		}
	}
	return found, err
}

// judge is the verdict about the user: about the newest message, or why there is none.
func (r *UserReport) judge(reach string) Verdict {
	var message, dead, missed time.Time
	if len(r.Messages) > 0 {
		message = time.Now() // without a record it is being handled
		if at := r.Messages[0].At; at != nil {
			message = *at
		}
	}
	if len(r.Dead) > 0 {
		dead = r.Dead[0].At
	}
	if len(r.Missed) > 0 {
		missed = r.Missed[0].At
	}
	switch {
	case missed.After(message) && missed.After(dead):
		m := r.Missed[0]
		return Verdict{NoSocket, fmt.Sprintf("The newest message, on %s, was refused with 404 by node %s at %s: the user had no socket on any node, so it was not stored. Senders that want it queued use ?queue=true.", m.Topic, m.Node, clock(m.At))}
	case !message.IsZero() && !dead.After(message.Add(time.Second)): // a dead message has a record too, a moment later
		newest := r.Messages[0]
		return Verdict{newest.Verdict.Code, fmt.Sprintf("The newest message, %s on %s: %s", newest.Offset, newest.Topic, newest.Verdict.Text)}
	case !dead.IsZero():
		l := r.Dead[0]
		return Verdict{Poison, fmt.Sprintf("The newest message, published on %s, was refused at %s: %s (%s). It was sent to no client. Fix its publisher, then run `socketbridge dead replay %d`.", l.Subject, clock(l.At), l.Reason, l.Code, l.Seq)}
	case len(r.Partial) > 0:
		return Verdict{InFlight, "Not everything could be asked (" + strings.Join(r.Partial, "; ") + "). While the store is away nothing is routed: messages wait in the stream and arrive when it is back."}
	}
	text := "No message for this user is known: " + reach + ". Look at the publisher: the subject, the userId's spelling, and whether NATS took it."
	if n := len(r.Sockets); n > 0 {
		text += fmt.Sprintf(" The user has %d socket(s) and would have got one.", n)
	} else {
		text += " The user has no socket either."
	}
	return Verdict{NeverPublished, text}
}
