// Package bridge is the domain: what a message is, for whom it is, how it reaches
// the user's sockets, and what became of it. It knows no NATS, no Redis and no
// Socket.IO; what it needs of them it names as interfaces and functions.
//
// # The model
//
// Publishers write messages to a stream, which gives each its [Offset]: the only
// source of order. One leader reads the stream and hands it, batch by batch, to
// its [Router]. The router decodes each [Message] into an [Envelope], appends it to
// its user's history in the [Store], in one step with the look-up of the user's
// sockets, and pushes it: to sockets of this node directly, to others by a forward
// to their node. Every message ends in exactly one [Outcome], counted in the
// [Ledger] and told to whoever asked for a [Receipt].
//
// # The guarantee
//
// Each message that the stream has acknowledged is received once, in order, by
// each page of its user that is open, or is accounted for by name. It rests on
// three rules.
//
//   - Append, then look up; register, then read. The router appends before it reads
//     who is there, a gateway registers a socket before it reads the history.
//     Whatever the interleaving, a message is pushed live or found in the history.
//   - Everything is idempotent by offset. The history refuses an offset that is not
//     after its last, a socket drops one that is not after the last it was given. So
//     a new leader may read again from the last checkpoint, and two may overlap.
//   - What may have been lost is read again. A node that sees a hole in what is
//     forwarded to it holds live messages back and reads its users' histories.
//
// A message is lost only where the history no longer reaches back to a page that
// returns, and then the page is told.
package bridge
