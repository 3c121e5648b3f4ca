// Package subscriber is the bridge's use of NATS: the stream that gives messages their order,
// the intake that reads it, publishing, dead letters, forwards and queries between nodes, and the
// server inside the process when no other is configured.
//
// Subjects, with the default prefix:
//
//	codewar.<topic>               messages; captured by the stream CODEWAR
//	bridge.dead.<code>            messages that break the rules; captured by BRIDGE_DEAD
//	bridge.codewar.node.<node>    forwards and beats of the leader to a node
//	bridge.codewar.ask.<node>.<k> queries between nodes, for operators
//	bridge.codewar.id.<node>      processes with that node id answer with their instance
//	bridge.codewar.resigned       the leader stops, so another node may lead
//	bridge.codewar.leader.<p>     the leading process p answers that it is alive
//	$KV.BRIDGE_LEASE.leader       who leads, in a key-value bucket
//	_INBOX.<random>.<n>           receipts and replies to this process
//
// With another prefix p these are p.<topic> in the stream P, bridge.p.dead.<code> in
// BRIDGE_DEAD_P, and bridge.p.node.<node> and so on: deployments in one account do not meet.
//
// Guarantee: the leader's router receives each acknowledged message in stream order, at least
// once; within one term exactly once. A core publish that NATS drops before it is stored is lost:
// a publisher must wait for the PubAck to know, as [Client.Publish] does.
package subscriber
