package app

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/subscriber"
)

// collector reads, at each scrape, the counters that the parts keep for
// themselves, so that counting costs the path of a message nothing more. Nothing
// of it asks NATS, and only [gateway.Server.Reasons] asks the store, within a second.
type collector struct {
	began  time.Time
	hub    *hub.Hub
	srv    *gateway.Server
	router *bridge.Router
	intake *subscriber.Intake
	sub    *subscriber.Client
	redis  *store.Redis // nil: the store is in memory
	index  *bridge.Index
}

// descs are the metrics of the collector; those of Redis are added to them.
var descs []*prometheus.Desc

func desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc(name, help, labels, nil)
	descs = append(descs, d)
	return d
}

var (
	readyDesc = desc("bridge_ready", "1 when everything that the node needs to serve is there, as /readyz says, else 0.")
	checkDesc = desc("bridge_ready_check", "1 for each of those things that is there, else 0.", "check")

	connectionsDesc = desc("bridge_gateway_connections", "Connections of this node, by transport.", "transport")
	openDesc        = desc("bridge_gateway_open_connections", "Connections that are open, whatever they are for, by listener: http, ops. Those of Socket.IO are among them.", "listener")
	clientMemDesc   = desc("bridge_gateway_client_memory_bytes", "Bytes that this node holds for its clients, beyond the first 4 KiB of each.")
	connectsDesc    = desc("bridge_gateway_connects_total", "Connections that were made.")
	socketsDesc     = desc("bridge_gateway_sockets", "Sockets of this node that are mapped to a user.")
	usersDesc       = desc("bridge_gateway_users", "Users with a socket on this node.")
	bindingDesc     = desc("bridge_gateway_binding", "Sockets that wait for the store to register them.")
	joinsDesc       = desc("bridge_gateway_joins_total", "Pages that joined: new, resumed (back, and recognised) or unknown (back, and not recognised).", "kind")
	gapsDesc        = desc("bridge_gateway_history_gaps_total", "Sockets that were told HISTORY_GAP: what their page had missed was no longer kept.")
	renewedDesc     = desc("bridge_gateway_registrations_renewed_total", "Registrations of sockets of this node that the store no longer had, and that were made again.")
	rejoinsDesc     = desc("bridge_gateway_rejoins_total", "Times that every socket of the node was registered in the store; once at the start, else because the node's lease was lost.")
	dropsDesc       = desc("bridge_gateway_drops_total", "Connections that this node closed for what the client did or failed to do, by reason.", "reason")
	refusalsDesc    = desc("bridge_gateway_refusals_total", "Connections, requests and registrations that were refused, by the limit they had reached.", "limit")
	panicsDesc      = desc("bridge_gateway_panics_total", "Panics that were caught while serving a socket. Each one is a bug.")
	requestsDesc    = desc("bridge_payload_requests_total", "Calls of /sendPayload, by the HTTP status of the answer.", "status")

	authDesc    = desc("bridge_auth_total", "Pages, callers and operators who wanted to be believed, by what for and result: ok, or the code of the refusal.", "kind", "result")
	apiKeyDesc  = desc("bridge_api_key_calls_total", "Calls of /sendPayload that were let in by an API key, by its name.", "key")
	expiredDesc = desc("bridge_auth_expired_total", "Sockets closed because their token had expired.")

	pushesDesc = desc("bridge_pushes_total", "Messages given to a socket of this node (took), or dropped because it had them (seen).", "result")
	pushDesc   = desc("bridge_push_seconds", "Time from the stream having taken a message to its being handed to its user's sockets on this node, once for each message and node; replays are left out.")

	leaderDesc   = desc("bridge_leader", "1 on the node that reads the stream, 0 on the others.")
	termsDesc    = desc("bridge_leader_terms_total", "Times that this node became the leader.")
	lagDesc      = desc("bridge_intake_lag", "Messages in the stream that the leader has not handled yet; 0 on other nodes.")
	receivedDesc = desc("bridge_intake_messages_total", "Messages that this node read from the stream as leader.")
	outcomesDesc = desc("bridge_intake_outcomes_total", "What became of them. The sum and what is in flight are the messages read.", "outcome")
	inFlightDesc = desc("bridge_intake_in_flight", "Messages read that have no outcome yet.")
	lostDesc     = desc("bridge_intake_lost_total", "Messages that had left the stream before the leader came to read them.")
	stopsDesc    = desc("bridge_intake_interruptions_total", "Times that reading the stream was interrupted by a fault of NATS.")
	deadLostDesc = desc("bridge_dead_letters_lost_total", "Messages that broke the rules and have no dead letter, because NATS refused it.")
	breachesDesc = desc("bridge_ledger_breaches_total", "Times that the ledger did not balance. Each one is a bug.")
	lookupsDesc  = desc("bridge_presence_lookups_total", "Look-ups of a message's user by the leader: with a live socket somewhere (hit), without (miss).", "result")
	forwardsDesc = desc("bridge_forwards_total", "Batches that the leader handed to other nodes: answered, gone (certainly not received) or unsure (no answer in time).", "result")

	natsDesc         = desc("bridge_nats_connected", "1 while this node is connected to NATS, else 0.")
	reconnectsDesc   = desc("bridge_nats_reconnects_total", "Times that NATS was there again after it had been away.")
	natsErrorsDesc   = desc("bridge_nats_errors_total", "Faults that the NATS client found by itself, mostly a subscription that was too slow.")
	linksRefusedDesc = desc("bridge_link_messages_refused_total", "Messages on this node's own NATS subject that no bridge of this version sends, and that were not delivered.")
	outboxDesc       = desc("bridge_nats_outbox_messages", "Messages that wait to be written to NATS.")
	streamDesc       = desc("bridge_stream_messages", "Messages in the stream of messages, and in that of dead letters, as seen last.", "stream")
	streamSizeDesc   = desc("bridge_stream_bytes", "Bytes in them.", "stream")
)

// Names of the two streams as label; what they are called in NATS is configuration.
const (
	streamMessages = "messages"
	streamDead     = "dead_letters"
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := scrape{ch}
	c.readiness(s)
	c.gateway(s)
	c.auth(s)
	c.messages(s)
	c.nats(s)
	s.history(c.index.Stats())
	if c.redis != nil {
		s.redis(c.redis.Stats())
	}
}

// scrape is where one reading goes.
type scrape struct{ ch chan<- prometheus.Metric }

func (s scrape) gauge(d *prometheus.Desc, v float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (s scrape) counter(d *prometheus.Desc, v uint64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (s scrape) truth(d *prometheus.Desc, v bool, labels ...string) {
	n := 0.0
	if v {
		n = 1
	}
	s.gauge(d, n, labels...)
}

func (c *collector) readiness(s scrape) {
	reasons, degraded := c.srv.Reasons(context.Background())
	s.truth(readyDesc, len(reasons) == 0)
	for _, check := range c.srv.Checks() {
		s.truth(checkDesc, reasons[check] == "" && degraded[check] == "", check)
	}
}

func (c *collector) gateway(s scrape) {
	stats := c.srv.Stats()
	s.gauge(connectionsDesc, float64(stats.Websocket), "websocket")
	s.gauge(connectionsDesc, float64(stats.Polling), "polling")
	for listener, n := range c.srv.OpenConnections() {
		s.gauge(openDesc, float64(n), listener)
	}
	s.gauge(clientMemDesc, float64(stats.Memory))
	s.counter(connectsDesc, stats.Opened)
	for reason, n := range stats.Drops {
		s.counter(dropsDesc, n, reason)
	}
	for limit, n := range c.srv.Refusals() {
		s.counter(refusalsDesc, n, limit)
	}
	s.counter(panicsDesc, stats.Panics)
	for status, n := range c.srv.Answers() {
		s.counter(requestsDesc, n, status)
	}
	joins := c.srv.Joins()
	s.counter(joinsDesc, joins.New, "new")
	s.counter(joinsDesc, joins.Resumed, "resumed")
	s.counter(joinsDesc, joins.Unknown, "unknown")

	s.gauge(socketsDesc, float64(c.hub.Sockets()))
	s.gauge(usersDesc, float64(c.hub.Users()))
	hub := c.hub.Stats()
	s.gauge(bindingDesc, float64(hub.Binding))
	s.counter(gapsDesc, hub.Gaps)
	s.counter(rejoinsDesc, hub.Rejoins)
	s.counter(renewedDesc, hub.Renewed)
	pushes := c.hub.Pushes()
	s.counter(pushesDesc, pushes.Took, "took")
	s.counter(pushesDesc, pushes.Seen, "seen")
	s.ch <- newTimes(pushDesc, c.hub.Latency(), c.began)
}

func (c *collector) auth(s scrape) {
	who := c.srv.AuthStats()
	for kind, results := range who.Results {
		for result, n := range results {
			s.counter(authDesc, n, kind, result)
		}
	}
	for name, n := range who.Keys {
		s.counter(apiKeyDesc, n, name)
	}
	s.counter(expiredDesc, who.Expired)
}

// messages is what this node has done as leader.
func (c *collector) messages(s scrape) {
	balance := c.router.Ledger().Balance()
	s.counter(receivedDesc, balance.Received)
	for outcome, n := range balance.Outcomes {
		s.counter(outcomesDesc, n, string(outcome))
	}
	s.gauge(inFlightDesc, float64(balance.InFlight()))
	s.counter(breachesDesc, c.router.Ledger().Breaches())
	routed := c.router.Stats()
	s.counter(deadLostDesc, routed.DeadLost)
	s.counter(lookupsDesc, routed.Hits, "hit")
	s.counter(lookupsDesc, routed.Misses, "miss")
	s.counter(lookupsDesc, routed.Unlocated, "failed")
	s.counter(forwardsDesc, routed.Answered, "answered")
	s.counter(forwardsDesc, routed.Gone, "gone")
	s.counter(forwardsDesc, routed.Unsure, "unsure")

	read := c.intake.Stats()
	s.counter(termsDesc, read.Terms)
	s.counter(lostDesc, read.Lost)
	s.counter(stopsDesc, read.Stops)
	leading, lag := c.intake.Leading(), 0.0
	if leading {
		l := c.intake.Lag()
		lag = float64(l.Last - l.Read)
	}
	s.truth(leaderDesc, leading)
	s.gauge(lagDesc, lag)
}

func (c *collector) nats(s scrape) {
	seen, met := c.sub.Status(), c.sub.Stats()
	s.truth(natsDesc, seen.Connected)
	s.counter(reconnectsDesc, met.Reconnects)
	s.counter(natsErrorsDesc, met.Errors)
	s.counter(linksRefusedDesc, met.RefusedLinks)
	s.gauge(outboxDesc, float64(met.Outbox))
	s.gauge(streamDesc, float64(seen.Messages), streamMessages)
	s.gauge(streamDesc, float64(met.Dead), streamDead)
	s.gauge(streamSizeDesc, float64(seen.Bytes), streamMessages)
	s.gauge(streamSizeDesc, float64(met.DeadBytes), streamDead)
}
