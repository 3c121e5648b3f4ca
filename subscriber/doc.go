// Package subscriber is everything the bridge says to NATS: the stream that
// gives messages their order, the intake that reads it, publishing, dead
// letters, the links between nodes, and the server inside the process for when
// no other is configured.
//
// Subjects, with the default prefix:
//
//	codewar.<topic>               messages; captured by the stream CODEWAR
//	bridge.dead.<code>            messages that break the rules; captured by BRIDGE_DEAD
//	bridge.codewar.node.<node>    what the leader forwards to a node, and its heartbeat
//	bridge.codewar.ask.<node>.<k> what nodes ask each other for operators
//	bridge.codewar.id.<node>      processes with that node id say which they are
//	bridge.codewar.resigned       the leader stops, so that another leads at once
//	bridge.codewar.leader.<p>     the process p, which leads, answers that it lives
//	$KV.BRIDGE_LEASE.leader       who leads, in a key-value bucket
//	_INBOX.<random>.<n>           receipts and answers to this process
//
// With another prefix p these are p.<topic> in the stream P, bridge.p.dead.<code> in
// BRIDGE_DEAD_P, and bridge.p.node.<node> and so on: deployments in one account do not meet.
//
// What is promised: a message that the stream has acknowledged is handed to the
// leader's router in stream order, at least once; within one term exactly once.
// A core publish that NATS drops before it is stored is lost without a trace:
// publishers that care wait for the PubAck, as [Client.Publish] does.
package subscriber
