// Chaos breaks things while messages flow, and proves from the outside that none
// was lost, none came twice and none came out of order: `make chaos`.
//
// Each row of its table is one fault on one topology, a cluster of its own of real
// processes: `-list` prints both, topology.go has the topologies. Pages come through a TCP
// balancer, which takes them to whichever node accepts them. On one NATS and one Redis they
// are stock socket.io-clients in a node process and raw ones written here, which keep their
// user for the whole row. On the other topologies some stock ones poll, and there are pages
// that come later, each the only one of its user: "late" ones while something is broken,
// "inbox" ones when it is whole again. Publishers use core NATS, JetStream and HTTP at the
// same time; there some ask that pages confirm (ack=client).
//
// # How things are broken
//
// Each server is reached through a gate, a proxy that knows which process has dialled it
// (network.go). So traffic between any two processes is delayed, held, one way or both, or
// cut, while others reach both. Sentinel, Redis Cluster and NATS announce the addresses of
// gates. Faults are functions, in files by what they strike: faults_bridge.go,
// faults_network.go, faults_redis.go, faults_nats.go; those of one NATS and one Redis are in
// rows.go.
//
// # How the account is kept
//
// The stream is the truth. What it holds, and held before it was deleted, restored or
// damaged, is what was published; a core publish that no server stored and an attempt that
// was answered 503 are not in it. A message is known by the sequence in its offset, which
// the page gets with it, and by the number that its publisher wrote into it; a page's
// message counts only when both, and the user, are those of the stream. So a retried POST,
// which the stream may hold twice, is two messages, and one message under two sequences
// would be seen as a stray. The first half of an offset is the bridge's own affair.
//
// For each page: received = what the stream holds for its user, less what is
// accounted for by name:
//
//   - gap: it lies where the page was told HISTORY_GAP; of what has left the stream, by any
//     HISTORY_GAP that came after that;
//   - offline: a POST that did not ask to be queued, and was answered 404. It must
//     not arrive, ever;
//   - unsure: such a POST whose caller got no answer (503, 504, connection lost).
//     It may arrive or not, once at most.
//
// Everything else that is missing is lost. Poison messages must each be a dead letter,
// once; what JetStream or HTTP acknowledged must be in the stream; the
// ledger of each bridge that lives at the end must balance.
//
// A row also fails when a page got nothing for too long while the stream had something for
// it, and when a caller was told 404 though the user's page was connected all the while.
// What the bridges said meanwhile (readiness, log, alerts) is printed, not judged.
//
// With -deploy FILE it restarts the bridges one after the other instead, and writes what
// pages saw over time to that file, curves beside it.
package main
