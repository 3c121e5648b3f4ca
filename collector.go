package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/subscriber"
)

// collector reads, at each scrape, the counters that the parts keep for
// themselves, so that counting costs the path of a message nothing more.
type collector struct {
	hub    *gateway.Hub
	srv    *gateway.Server
	router *bridge.Router
	intake *subscriber.Intake
}

var (
	connectionsDesc = prometheus.NewDesc("bridge_gateway_connections", "Connections of this node, by transport.", []string{"transport"}, nil)
	socketsDesc     = prometheus.NewDesc("bridge_gateway_sockets", "Sockets of this node that are mapped to a user.", nil, nil)
	usersDesc       = prometheus.NewDesc("bridge_gateway_users", "Users with a socket on this node.", nil, nil)
	dropsDesc       = prometheus.NewDesc("bridge_gateway_drops_total", "Connections that this node closed for what the client did or failed to do, by reason.", []string{"reason"}, nil)
	refusalsDesc    = prometheus.NewDesc("bridge_gateway_refusals_total", "Connections, requests and registrations that were refused, by the limit they had reached.", []string{"limit"}, nil)
	panicsDesc      = prometheus.NewDesc("bridge_gateway_panics_total", "Panics that were caught while serving a socket. Each one is a bug.", nil, nil)
	authDesc        = prometheus.NewDesc("bridge_auth_total", "Pages, callers and operators who wanted to be believed, by what for and result: ok, or the code of the refusal.", []string{"kind", "result"}, nil)
	apiKeyDesc      = prometheus.NewDesc("bridge_api_key_calls_total", "Calls of /sendPayload that were let in by an API key, by its name.", []string{"key"}, nil)
	expiredDesc     = prometheus.NewDesc("bridge_auth_expired_total", "Sockets closed because their token had expired.", nil, nil)
	pushesDesc      = prometheus.NewDesc("bridge_pushes_total", "Messages given to a socket of this node (took), or dropped because it had them (seen).", []string{"result"}, nil)
	receivedDesc    = prometheus.NewDesc("bridge_intake_messages_total", "Messages that this node read from the stream as leader.", nil, nil)
	outcomesDesc    = prometheus.NewDesc("bridge_intake_outcomes_total", "What became of them. The sum and what is in flight are the messages read.", []string{"outcome"}, nil)
	inFlightDesc    = prometheus.NewDesc("bridge_intake_in_flight", "Messages read that have no outcome yet.", nil, nil)
	breachesDesc    = prometheus.NewDesc("bridge_ledger_breaches_total", "Times that the ledger did not balance. Each one is a bug.", nil, nil)
	leaderDesc      = prometheus.NewDesc("bridge_leader", "1 on the node that reads the stream, 0 on the others.", nil, nil)
	lagDesc         = prometheus.NewDesc("bridge_intake_lag", "Messages in the stream that the leader has not handled yet; 0 on other nodes.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectionsDesc, socketsDesc, usersDesc, dropsDesc, refusalsDesc, panicsDesc, authDesc, apiKeyDesc, expiredDesc, pushesDesc, receivedDesc, outcomesDesc, inFlightDesc, breachesDesc, leaderDesc, lagDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	stats := c.srv.Stats()
	gauge(connectionsDesc, float64(stats.Websocket), "websocket")
	gauge(connectionsDesc, float64(stats.Polling), "polling")
	for reason, n := range stats.Drops {
		counter(dropsDesc, n, reason)
	}
	for limit, n := range c.srv.Refusals() {
		counter(refusalsDesc, n, limit)
	}
	counter(panicsDesc, stats.Panics)
	who := c.srv.AuthStats()
	for kind, results := range who.Results {
		for result, n := range results {
			counter(authDesc, n, kind, result)
		}
	}
	for name, n := range who.Keys {
		counter(apiKeyDesc, n, name)
	}
	counter(expiredDesc, who.Expired)
	gauge(socketsDesc, float64(c.hub.Sockets()))
	gauge(usersDesc, float64(c.hub.Users()))
	pushes := c.hub.Pushes()
	counter(pushesDesc, pushes.Took, "took")
	counter(pushesDesc, pushes.Seen, "seen")

	balance := c.router.Ledger().Balance()
	counter(receivedDesc, balance.Received)
	for outcome, n := range balance.Outcomes {
		counter(outcomesDesc, n, string(outcome))
	}
	gauge(inFlightDesc, float64(balance.InFlight()))
	counter(breachesDesc, c.router.Ledger().Breaches())
	leader, lag := 0.0, 0.0
	if c.intake.Leading() {
		l := c.intake.Lag()
		leader, lag = 1, float64(l.Last-l.Read)
	}
	gauge(leaderDesc, leader)
	gauge(lagDesc, lag)
}
