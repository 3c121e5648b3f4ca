package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/sio"
)

// Reasons of a disconnected socket that verdicts go by.
const (
	reasonPing = sio.ReasonPingTimeout
	reasonSlow = sio.ReasonSlow
)

// Limits of one look-up.
const (
	maxEvents = 200 // of each node
	// searchLimit bounds how long traces are searched, letterDepth how many dead
	// letters are looked at, and letterLimit for how long.
	searchLimit = 1500 * time.Millisecond
	letterDepth = 2000
	letterLimit = time.Second
	// historyPage messages, with their payloads, are held at a time, and no more
	// than historyDepth are looked at.
	historyPage  = 50
	historyDepth = 1000
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

// Event is that a socket of a user came or went.
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

// userQuestion asks a node what it knows of a user.
type userQuestion struct {
	User bridge.UserID `json:"user"`
}

type userAnswer struct {
	Sockets []Socket       `json:"sockets"`
	Events  []Event        `json:"events"`
	Missed  []notFoundCall `json:"missed"`
}

// notFoundCall is that a caller of /sendPayload was told 404 because the user had no
// socket. The message was not stored, so there is no other memory of it.
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
	for _, e := range sv.deps.Server.SocketEvents(q.User, maxEvents) {
		a.Events = append(a.Events, Event{moment(e.At), e.Event, e.Socket, sv.deps.Node, e.Transport, e.Reason, millis(e.Took), e.Given, e.Acked})
	}
	for _, m := range sv.deps.Server.NotFoundCalls(q.User, maxEvents) {
		a.Missed = append(a.Missed, notFoundCall{moment(m.At), m.Topic, sv.deps.Node})
	}
	return a
}

// UserReport is the answer of /api/v1/users/:id: why a user did or did not get something.
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
	At      *time.Time            `json:"at"`      // when the leader read it; null without a trace
	Outcome bridge.Outcome        `json:"outcome"` // empty without a trace
	Code    string                `json:"code,omitempty"`
	Verdict Verdict               `json:"verdict"`
	Sockets int                   `json:"sockets"`
	Tries   []bridge.NodeDelivery `json:"tries"`
	Kept    bool                  `json:"kept"` // the history still has it
}

// topicOf is the topic of a subject, whose first token, or more, is the prefix.
// Traces keep subjects; the prefix is the same for all.
func (sv *Service) topicOf(subject string) string {
	return strings.TrimPrefix(subject, sv.deps.SubjectPrefix+".")
}

// userRecord is what the nodes and the store know of a user.
type userRecord struct {
	sockets []Socket
	events  []Event
	missed  []notFoundCall
	taken   bridge.Offset
	missing []bridge.NodeID
	partial []string
}

// lookupUser asks the nodes and the store about a user.
func (sv *Service) lookupUser(ctx context.Context, user bridge.UserID) (k userRecord) {
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

// evidence puts together what is known of one message.
func (sv *Service) evidence(k *userRecord, offset bridge.Offset, trace *bridge.DeliveryRecord, kept bool) evidence {
	return evidence{
		now: time.Now(), trace: trace, offset: offset, kept: kept, taken: k.taken, sockets: k.sockets, events: k.events,
		missing: k.missing, pingWindow: sv.deps.PingWindow, historyTTL: sv.deps.HistoryTTL, topic: sv.topicOf,
	}
}

// report looks a user up.
func (sv *Service) report(ctx context.Context, user bridge.UserID, topic string, limit int) UserReport {
	letters := sv.lettersOf(ctx, user, topic, limit)
	k := sv.lookupUser(ctx, user)
	r := UserReport{
		User: user, Sockets: k.sockets, Events: k.events, Taken: k.taken,
		Messages: []message{}, Dead: []DeadLetter{}, Missed: []notFoundCall{}, Missing: k.missing, Partial: k.partial,
	}
	traces, history, reach, partial := sv.messagesOf(ctx, user, topic, limit)
	if sv.unsaved(history.last, traces) { // they came this very moment
		select {
		case <-time.After(saveDelay):
		case <-ctx.Done():
		}
		traces, history, reach, partial = sv.messagesOf(ctx, user, topic, limit)
	}
	r.Last = history.last
	kept := history.topics
	r.Partial = append(r.Partial, partial...)
	for i := range traces {
		t := &traces[i]
		_, still := kept[t.Offset]
		delete(kept, t.Offset)
		at := moment(t.Read)
		m := message{Offset: t.Offset, Topic: sv.topicOf(t.Subject), At: &at, Outcome: t.Outcome, Code: t.Code, Tries: t.Nodes, Kept: still}
		for _, try := range t.Nodes {
			m.Sockets += try.Took
		}
		m.Verdict = judge(sv.evidence(&k, t.Offset, t, still))
		r.Messages = append(r.Messages, m)
	}
	for offset, of := range kept {
		if topic == "" || topic == of {
			r.Messages = append(r.Messages, message{Offset: offset, Topic: of, Kept: true, Verdict: judge(sv.evidence(&k, offset, nil, true))})
		}
	}
	slices.SortFunc(r.Messages, func(a, b message) int { return b.Offset.Compare(a.Offset) })
	r.Messages = r.Messages[:min(len(r.Messages), limit)]
	for i := range r.Messages {
		if r.Messages[i].Tries == nil {
			r.Messages[i].Tries = []bridge.NodeDelivery{}
		}
	}
	dead, err := letters()
	if err != nil {
		r.Partial = append(r.Partial, "dead letters: "+err.Error())
	}
	r.Dead = append(r.Dead, dead...)
	for _, m := range k.missed {
		if (topic == "" || topic == m.Topic) && len(r.Missed) < limit {
			r.Missed = append(r.Missed, m)
		}
	}
	r.Verdict = r.judge(reach)
	return r
}

// lettersOf begins to look for a user's dead letters; what it returns waits for them.
func (sv *Service) lettersOf(ctx context.Context, user bridge.UserID, topic string, limit int) (wait func() ([]DeadLetter, error)) {
	var (
		found []DeadLetter
		err   error
		done  = make(chan struct{})
	)
	go func() { // ends with ctx at the latest, and before wait returns
		defer close(done)
		ctx, cancel := context.WithTimeout(ctx, letterLimit)
		defer cancel()
		var newest []DeadLetter
		newest, _, err = sv.deps.DeadLetters(ctx, letterDepth)
		for _, l := range newest {
			if l.User == user && (topic == "" || topic == sv.topicOf(l.Subject)) && len(found) < limit {
				found = append(found, l)
			}
		}
	}()
	return func() ([]DeadLetter, error) {
		<-done
		return found, err
	}
}

// judge is the one line about the user: of the newest message, or why there is none.
func (r *UserReport) judge(reach string) Verdict {
	var message, dead, missed time.Time
	if len(r.Messages) > 0 {
		message = time.Now() // without a trace it is being handled
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
		return Verdict{NoSocket, fmt.Sprintf("The newest message, on %s, was refused with 404 by node %s at %s: the user had no socket on any node, so it was not stored. Senders that want it to wait use ?queue=true.", m.Topic, m.Node, clock(m.At))}
	case !message.IsZero() && !dead.After(message.Add(time.Second)): // a dead one has a trace too, a moment later
		newest := r.Messages[0]
		return Verdict{newest.Verdict.Code, fmt.Sprintf("The newest message, %s on %s: %s", newest.Offset, newest.Topic, newest.Verdict.Text)}
	case !dead.IsZero():
		l := r.Dead[0]
		return Verdict{Poison, fmt.Sprintf("The newest message, published on %s, was refused at %s: %s (%s). Nobody was sent it. Have its publisher mend it, then `socketbridge dead replay %d`.", l.Subject, clock(l.At), l.Reason, l.Code, l.Seq)}
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

// keptMessages are those that a user's history has.
type keptMessages struct {
	topics map[bridge.Offset]string
	last   bridge.Offset // the user's last message, which may be no longer kept; zero when none is known
}

// messagesOf finds a user's messages: those that left a trace, newest first, and
// those that the history has.
func (sv *Service) messagesOf(ctx context.Context, user bridge.UserID, topic string, limit int) (traces []bridge.DeliveryRecord, kept keptMessages, reach string, partial []string) {
	traces, reach, err := sv.tracesOf(ctx, user, topic, limit)
	if err != nil {
		partial = append(partial, "traces: "+err.Error())
	}
	after := bridge.Offset{}
	if len(traces) == limit { // older ones would be cut anyway
		after = traces[limit-1].Offset
		after.Seq--
	}
	if kept, err = sv.keptOf(ctx, user, after); err != nil {
		partial = append(partial, "history: "+err.Error())
	}
	return traces, kept, reach, partial
}

// unsaved reports whether the user's last message is of this moment and its trace
// waits to be saved.
func (sv *Service) unsaved(newest bridge.Offset, traces []bridge.DeliveryRecord) bool {
	const moment = 10_000 // messages
	if sv.deps.Traces == 0 {
		return false
	}
	last := sv.deps.NATS()
	near := newest.Epoch == last.Epoch && newest.Seq+moment > last.Last
	return near && !newest.IsZero() && (len(traces) == 0 || newest.After(traces[0].Offset))
}

// tracesOf searches the traces backwards from the newest message for those of a
// user. reach says in words how far back that was.
func (sv *Service) tracesOf(ctx context.Context, user bridge.UserID, topic string, limit int) (found []bridge.DeliveryRecord, reach string, err error) {
	if sv.deps.Traces == 0 {
		return nil, "traces are not kept (history.traces is 0)", nil
	}
	nats := sv.natsNow(ctx)
	if nats.Epoch == 0 {
		return nil, "the stream was never seen", nil
	}
	from := bridge.Offset{Epoch: nats.Epoch, Seq: nats.Last}
	began := time.Now()
	for !from.IsZero() {
		traces, next, err := sv.deps.Store.RecordsOf(ctx, user, from)
		if err != nil {
			return found, "the traces could not be read to their end", err
		}
		for _, t := range traces {
			if topic == "" || topic == sv.topicOf(t.Subject) {
				found = append(found, t)
			}
		}
		switch {
		case len(found) >= limit:
			return found[:limit], "", nil
		case next.IsZero():
			return found, fmt.Sprintf("traces go back %d messages at most and %v at most, and none of them is this user's", sv.deps.Traces, sv.deps.TraceTTL), nil
		case time.Since(began) > searchLimit:
			return found, fmt.Sprintf("among the newest %d messages of the stream none is this user's, and older ones were not searched", nats.Last-next.Seq), nil
		}
		from = next
	}
	return found, "", nil
}

// natsNow looks at the stream; when NATS does not answer soon, what was seen last counts.
func (sv *Service) natsNow(ctx context.Context) NATS {
	ctx, cancel := context.WithTimeout(ctx, gatherLimit)
	defer cancel()
	_ = sv.deps.Look(ctx)
	return sv.deps.NATS()
}

// keptOf lists what the user's history has after an offset.
func (sv *Service) keptOf(ctx context.Context, user bridge.UserID, after bridge.Offset) (keptMessages, error) {
	kept := keptMessages{topics: make(map[bridge.Offset]string)}
	for len(kept.topics) < historyDepth {
		page, err := sv.deps.History.Read(ctx, bridge.HistoryQuery{User: user, After: after, Limit: historyPage, Peek: true})
		if err != nil {
			return kept, err
		}
		kept.last = page.Last
		for _, e := range page.Entries {
			kept.topics[e.Offset] = e.Topic
			after = e.Offset
		}
		if !page.More || len(page.Entries) == 0 {
			break
		}
	}
	return kept, nil
}

// messageReport is what happened to one message.
type messageReport struct {
	bridge.DeliveryRecord
	Topic   string          `json:"topic"`
	Verdict Verdict         `json:"verdict"`
	Missing []bridge.NodeID `json:"missing"`
}

// saveDelay is longer than traces wait to be saved.
const saveDelay = 200 * time.Millisecond

// message looks one message up. [bridge.ErrNoRecord] means that nothing is known of it.
func (sv *Service) message(ctx context.Context, at bridge.Offset) (messageReport, error) {
	trace, err := sv.deps.Store.Record(ctx, at)
	if errors.Is(err, bridge.ErrNoRecord) {
		select { // it may have come this very moment
		case <-time.After(saveDelay):
		case <-ctx.Done():
		}
		trace, err = sv.deps.Store.Record(ctx, at)
	}
	if errors.Is(err, bridge.ErrNoRecord) && sv.isAhead(ctx, at) {
		e := evidence{offset: at}
		return messageReport{DeliveryRecord: bridge.DeliveryRecord{Offset: at}, Verdict: judge(e), Missing: []bridge.NodeID{}}, nil
	}
	if err != nil {
		return messageReport{}, err
	}
	r := messageReport{DeliveryRecord: trace, Topic: sv.topicOf(trace.Subject), Missing: []bridge.NodeID{}}
	k := userRecord{}
	if trace.User != "" {
		k = sv.lookupUser(ctx, trace.User)
		r.Missing = k.missing
	}
	kept := false
	if trace.User != "" && at.Seq > 0 {
		before := bridge.Offset{Epoch: at.Epoch, Seq: at.Seq - 1}
		page, err := sv.deps.History.Read(ctx, bridge.HistoryQuery{User: trace.User, After: before, Limit: 1, Peek: true})
		kept = err == nil && len(page.Entries) > 0 && page.Entries[0].Offset == at
	}
	r.Verdict = judge(sv.evidence(&k, at, &trace, kept))
	return r, nil
}

// isAhead reports whether the stream has the message and the leader has not come to it.
func (sv *Service) isAhead(ctx context.Context, at bridge.Offset) bool {
	nats := sv.natsNow(ctx)
	if at.Epoch != nats.Epoch || at.Seq > nats.Last || at.Seq < nats.First {
		return false
	}
	states, _ := gather[NodeState](ctx, sv, queryState, nil)
	var read uint64
	for _, s := range states {
		read = max(read, s.NATS.Read)
	}
	return at.Seq > read
}
