package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// messageReport is what happened to one message.
type messageReport struct {
	bridge.DeliveryRecord
	Topic   string          `json:"topic"`
	Verdict Verdict         `json:"verdict"`
	Missing []bridge.NodeID `json:"missing"`
}

// message looks one message up. [bridge.ErrNoRecord] means that nothing is known of it.
func (sv *Service) message(ctx context.Context, at bridge.Offset) (messageReport, error) {
	record, err := sv.deps.Store.Record(ctx, at)
	if errors.Is(err, bridge.ErrNoRecord) {
		awaitSave(ctx)
		record, err = sv.deps.Store.Record(ctx, at)
	}
	if errors.Is(err, bridge.ErrNoRecord) && sv.isAhead(ctx, at) {
		e := evidence{offset: at}
		return messageReport{DeliveryRecord: bridge.DeliveryRecord{Offset: at}, Verdict: judge(e), Missing: []bridge.NodeID{}}, nil
	}
	if err != nil {
		return messageReport{}, err
	}
	r := messageReport{DeliveryRecord: record, Topic: sv.topicOf(record.Subject), Missing: []bridge.NodeID{}}
	var user userState
	kept := false
	if record.User != "" {
		user = sv.lookupUser(ctx, record.User)
		r.Missing = user.missing
		before := bridge.Offset{Epoch: at.Epoch, Seq: max(at.Seq, 1) - 1}
		batch, err := sv.deps.History.Read(ctx, bridge.HistoryQuery{User: record.User, After: before, Limit: 1, Peek: true})
		kept = err == nil && len(batch.Entries) > 0 && batch.Entries[0].Offset == at
	}
	r.Verdict = judge(sv.evidence(&user, at, &record, kept))
	return r, nil
}

// isAhead reports whether the message is in the stream and no leader has read it yet.
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

// keptMessages are the messages in a user's history.
type keptMessages struct {
	topics map[bridge.Offset]string
	last   bridge.Offset // the user's last message, kept or not; zero when none is known
}

// messagesOf finds a user's messages: the delivery records, newest first, and the messages in the
// history.
func (sv *Service) messagesOf(ctx context.Context, user bridge.UserID, topic string, limit int) (records []bridge.DeliveryRecord, kept keptMessages, reach string, partial []string) {
	records, reach, err := sv.recordsOf(ctx, user, topic, limit)
	if err != nil {
		partial = append(partial, "traces: "+err.Error())
	}
	after := bridge.Offset{}
	if len(records) == limit { // older ones would be cut anyway
		after = records[limit-1].Offset
		after.Seq--
	}
	if kept, err = sv.keptOf(ctx, user, after); err != nil {
		partial = append(partial, "history: "+err.Error())
	}
	return records, kept, reach, partial
}

// unsaved reports whether the user's last message is so new that its record may not be saved yet.
func (sv *Service) unsaved(newest bridge.Offset, records []bridge.DeliveryRecord) bool {
	const recent = 10_000 // messages
	if sv.deps.Traces == 0 {
		return false
	}
	last := sv.deps.NATS()
	near := newest.Epoch == last.Epoch && newest.Seq+recent > last.Last
	return near && !newest.IsZero() && (len(records) == 0 || newest.After(records[0].Offset))
}

// recordsOf searches the delivery records of a user, backwards from the newest message. reach is
// a sentence about how far back it searched.
func (sv *Service) recordsOf(ctx context.Context, user bridge.UserID, topic string, limit int) (found []bridge.DeliveryRecord, reach string, err error) {
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
		records, next, err := sv.deps.Store.RecordsOf(ctx, user, from)
		if err != nil {
			return found, "the traces could not be read to their end", err
		}
		for _, t := range records {
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

// natsNow asks NATS about the stream. When NATS does not answer soon, the last state counts.
func (sv *Service) natsNow(ctx context.Context) NATS {
	ctx, cancel := context.WithTimeout(ctx, gatherLimit)
	defer cancel()
	_ = sv.deps.Look(ctx)
	return sv.deps.NATS()
}

// keptOf lists the messages after an offset in the user's history.
func (sv *Service) keptOf(ctx context.Context, user bridge.UserID, after bridge.Offset) (keptMessages, error) {
	kept := keptMessages{topics: make(map[bridge.Offset]string)}
	for len(kept.topics) < historyDepth {
		batch, err := sv.deps.History.Read(ctx, bridge.HistoryQuery{User: user, After: after, Limit: historyBatch, Peek: true})
		if err != nil {
			return kept, err
		}
		kept.last = batch.Last
		for _, e := range batch.Entries {
			kept.topics[e.Offset] = e.Topic
			after = e.Offset
		}
		if !batch.More || len(batch.Entries) == 0 {
			break
		}
	}
	return kept, nil
}
