// Chaos breaks things while messages flow, and proves from the outside that none
// was lost, none came twice and none came out of order: `make chaos`.
//
// Each row of its table is a cluster of its own, of real processes: a nats-server, a
// redis-server and two bridges behind a TCP balancer. Pages (half of them stock
// socket.io-clients in a node process, half raw ones written here) keep their user
// for the whole row and come back through the balancer, to whichever node takes
// them. Publishers use core NATS, JetStream and HTTP at the same time.
//
// # How the account is kept
//
// The stream is the truth. What it holds at the end (and held before it was
// deleted, in the row that does so) is what was published; a core publish that no
// server stored and an attempt that was answered 503 are not in it. A message is known by
// its offset, which the page gets with it, and by the number that its publisher
// wrote into it; a page's message counts only when both, and the user, are those of
// the stream. So a retried POST, which the stream may hold twice, is two
// messages, and one message under two offsets would be seen as a stray.
//
// For each page: received = what the stream holds for its user, less what is
// accounted for by name:
//
//   - gap: it lies where the page was told HISTORY_GAP;
//   - offline: a POST that did not ask to be queued, and was answered 404. It must
//     not arrive, ever;
//   - unsure: such a POST whose caller got no answer (503, 504, connection lost).
//     It may arrive or not, once at most.
//
// Everything else that is missing is lost. Poison messages must each be a dead letter,
// once; what JetStream or HTTP acknowledged must be in the stream; the
// ledger of each bridge that lives at the end must balance.
//
// With -deploy FILE it restarts the bridges one after the other instead, and writes what
// pages saw over time to that file, curves beside it.
package main
