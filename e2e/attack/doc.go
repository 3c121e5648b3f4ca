// Attack measures what hostile peers cost other users: `make attack`.
//
// Two bridges run as processes, with one NATS server and one Redis that load the users of
// deploy/. One bridge believes every client (auth.mode none), the other asks for tokens. 200
// users are connected to both and are sent 500 messages a second, first without and then under
// attack. The attacker is another process with 500 connections. Each connection repeats one of
// these, from an address of its own:
//
//   - attacks.go: requests and packets that break HTTP, Engine.IO and Socket.IO
//   - attacks_memory.go: what a bridge has to keep, such as inflated packets, idle connections,
//     sessions, bodies and histories
//   - attacks_identity.go: forged tokens, other users, operators' routes, foreign pages, offsets of
//     the future
//   - attacks_bus.go: programs at NATS, as publisher, operator and bridge
//
// The attacker then ends, and garbage.go replaces every key of the bridges in Redis. The bridges
// pass when
//
//   - each try was answered as it must be,
//   - the users received every message, once, in order, on the connection they had,
//   - the 99th percentile of the time from publishing to receiving under attack is
//     within three times the quiet one, or 2 ms,
//   - no panic was caught,
//   - no bridge ever had more than 400 MB resident,
//   - heap, goroutines and descriptors are back within 10 % of what they were, the last two and 5,
//   - both bridges lived through the garbage and delivered again after it was deleted.
//
// The attacker gets the processor only when no other process wants it (SCHED_IDLE): on one
// machine it would otherwise take it from users and bridges by itself, which proves
// nothing. The time that the bridges spend on it is theirs, and counts.
package main
