// Package bridge is the domain: what a message is, for whom it is, how it reaches
// the user's sockets, and what became of it. It knows no NATS, no Redis and no
// Socket.IO; what it needs of them it names as interfaces and functions.
//
// # The model
//
// Publishers write messages to a stream, which gives each its [Offset]: the only
// source of order. One leader reads the stream and hands it, batch by batch, to
// its [Router]. The router decodes each [Message] into an [Envelope], puts it into the
// [Index], looks up the user's sockets in the [Store], and pushes it: to sockets of
// this node directly, to others by a forward to their node. Every message ends in
// exactly one [Outcome], counted in the [Ledger] and told to the sender that asked for a
// [Receipt]. The stream is the only copy of a message; the index says which sequences are in
// which user's log, and answers what a socket has missed ([History]).
//
// # The guarantee
//
// Each message that the stream has acknowledged is received once, in order, by
// each page of its user that is open, or is accounted for by name. It rests on
// three rules.
//
//   - Index, then look up; register, then ask. The router puts a message into the index
//     before it reads who is there, a gateway registers a socket before it asks for the
//     history. Whatever the interleaving, a message is pushed live or is in the answer.
//   - Everything is idempotent by offset. A socket drops an offset that is not after the
//     last it was given. So a new leader may hand on again what the one before did, and
//     two may overlap.
//   - What may have been lost is read again. A node that sees a hole in what is
//     forwarded to it holds live messages back and reads its users' histories.
//
// A message is lost only where the history no longer reaches back to a page that
// returns, and then the page is told.
package bridge
