package admin

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/bridge"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestJudge is the whole of what evidence means.
func TestJudge(t *testing.T) {
	t.Parallel()
	read := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return read.Add(time.Duration(s * float64(time.Second))) }
	o := func(seq uint64) bridge.Offset { return bridge.Offset{Epoch: 1, Seq: seq} }
	trace := func(outcome bridge.Outcome, tries ...bridge.NodeDelivery) *bridge.DeliveryRecord {
		return &bridge.DeliveryRecord{Offset: o(5), Subject: "codewar.result", User: "u", Read: read, Settled: at(0.01), Outcome: outcome, Code: "TOPIC_MISMATCH", Nodes: tries}
	}
	took := bridge.NodeDelivery{Node: "a", Sockets: []bridge.SocketID{"s"}, Took: 1}
	full := bridge.NodeDelivery{Node: "a", Sockets: []bridge.SocketID{"s"}}
	ended := func(s float64, reason string) Event {
		return Event{At: at(s), Event: "disconnected", Socket: "s", Node: "a", Reason: reason, Given: o(5)}
	}
	came := func(s float64, event, socket string) Event {
		return Event{At: at(s), Event: event, Socket: bridge.SocketID(socket), Node: "b"}
	}
	const ping, slow = "ping timeout", "slow"
	for name, tt := range map[string]struct {
		evidence
		code VerdictCode
		says string
	}{
		"poison":                        {evidence{record: trace(bridge.Dead)}, Poison, "codewar.result"},
		"duplicate":                     {evidence{record: trace(bridge.Duplicate, full)}, DuplicateCode, "already"},
		"offline":                       {evidence{record: trace(bridge.Offline), events: []Event{ended(-5, "transport close")}}, NoSocket, "had left at 2026-03-01 11:59:55.000 UTC (transport close)"},
		"offline, node silent":          {evidence{record: trace(bridge.Offline), missing: []bridge.NodeID{"b"}}, NoSocket, "node b did not answer"},
		"waits":                         {evidence{record: trace(bridge.Inboxed), kept: true, taken: o(4)}, Queued, "until about 2026-03-01 12:10:00.010 UTC"},
		"waited, then came":             {evidence{record: trace(bridge.Inboxed), kept: true, taken: o(5), events: []Event{came(20, "connected", "t")}}, Pushed, "socket t on node b, which came at 2026-03-01 12:00:20.000 UTC"},
		"waited, came, lapsed":          {evidence{record: trace(bridge.Inboxed), taken: o(5), events: []Event{came(20, "connected", "t")}}, Pushed, "socket t"},
		"waited, came, forgotten":       {evidence{record: trace(bridge.Inboxed), kept: true, taken: o(5)}, Pushed, "not known any more"},
		"waited, nobody came":           {evidence{record: trace(bridge.Inboxed)}, Expired, "No socket of the user has come since"},
		"waited, came too late":         {evidence{record: trace(bridge.Inboxed), taken: o(5), sockets: []Socket{{Socket: "t", Node: "b", Since: at(700)}}}, Expired, "too late"},
		"socket overflowed":             {evidence{record: trace(bridge.Inboxed, full), kept: true, taken: o(4), events: []Event{ended(0, slow)}}, SlowSocket, "socket s did not read"},
		"waits behind a slow socket":    {evidence{record: trace(bridge.Inboxed), kept: true, taken: o(4), events: []Event{ended(-1, slow)}}, SlowSocket, "had been closed as slow"},
		"waits, slow long ago":          {evidence{record: trace(bridge.Inboxed), kept: true, taken: o(4), events: []Event{ended(-100, slow)}}, Queued, "(slow)"},
		"pushed and confirmed":          {evidence{record: trace(bridge.Pushed, bridge.NodeDelivery{Node: "a", Sockets: []bridge.SocketID{"s"}, Took: 1, Acked: 1}), events: []Event{ended(30, ping)}}, Pushed, "confirmed"},
		"pushed, still there":           {evidence{record: trace(bridge.Pushed, took), sockets: []Socket{{Socket: "s", Node: "a"}}}, Pushed, "still connected"},
		"pushed, left later":            {evidence{record: trace(bridge.Pushed, took), events: []Event{ended(3, "transport close")}}, Pushed, "open until"},
		"pushed, ping timeout":          {evidence{record: trace(bridge.Pushed, took), events: []Event{ended(30, ping)}}, DeadTab, "29.99s later"},
		"pushed, ping timeout, resumed": {evidence{record: trace(bridge.Pushed, took), events: []Event{came(40, "resumed", "s"), ended(30, ping)}}, Pushed, "came back"},
		"pushed, ping timeout, other":   {evidence{record: trace(bridge.Pushed, took), events: []Event{came(40, "connected", "t"), ended(30, ping)}}, DeadTab, "no ping"},
		"pushed, ping timeout hours on": {evidence{record: trace(bridge.Pushed, took), events: []Event{ended(7200, ping)}}, Pushed, "open until"},
		"pushed, one of two dead":       {evidence{record: trace(bridge.Pushed, bridge.NodeDelivery{Node: "a", Sockets: []bridge.SocketID{"s", "t"}, Took: 2}), sockets: []Socket{{Socket: "t"}}, events: []Event{ended(30, ping)}}, Pushed, "t is still"},
		"pushed, slow":                  {evidence{record: trace(bridge.Pushed, took), events: []Event{ended(3, slow)}}, SlowSocket, "closed as slow"},
		"pushed, slow, resumed":         {evidence{record: trace(bridge.Pushed, took), events: []Event{came(4, "resumed", "s"), ended(3, slow)}}, Pushed, "came back"},
		"pushed before an earlier end":  {evidence{record: trace(bridge.Pushed, took), events: []Event{ended(-30, ping)}}, Pushed, "not known"},
		"pushed, node gone":             {evidence{record: trace(bridge.Pushed, took), missing: []bridge.NodeID{"a"}}, Pushed, "node a did not answer"},
		"pushed on arrival":             {evidence{record: trace(bridge.Pushed)}, Pushed, "registered in that moment"},
		"not read yet":                  {evidence{}, InFlight, "the leader has not come to it"},
		"appended, not settled":         {evidence{kept: true, taken: o(4)}, InFlight, "no outcome yet"},
		"taken, trace lapsed":           {evidence{kept: true, taken: o(5)}, Pushed, "Which one is not known"},
	} {
		e := tt.evidence
		e.offset, e.now, e.pingWindow, e.historyTTL = o(5), at(800), 85*time.Second, 10*time.Minute
		e.topic = func(subject string) string { return strings.TrimPrefix(subject, "codewar.") }
		got := judge(e)
		if got.Code != tt.code || !strings.Contains(got.Text, tt.says) {
			t.Errorf("%s: %+v, want %s with %q", name, got, tt.code, tt.says)
		}
	}
}
