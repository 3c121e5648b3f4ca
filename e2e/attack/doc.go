// Attack is an account of what hostile peers cost those who behave: `make attack`.
//
// One bridge runs as a process of its own, with its defaults but for a NATS server beside it. 200 users are
// connected and sent 500 messages a second, first quietly and then while another
// process holds 500 connections, each of which does one of the things in
// attacks.go again and again, from addresses of its own. Then that process is
// killed. The bridge passes when
//
//   - each try was answered as it must be,
//   - the users received every message, once, in order, on the connection they had,
//   - the 99th percentile of the time from publishing to receiving under attack is
//     within three times the quiet one, or 2 ms,
//   - no panic was caught,
//   - heap, goroutines and descriptors are back within 10 % of what they were, the last two and 5.
//
// The attacker gets the processor only when nobody else wants it (SCHED_IDLE): on one
// machine it would otherwise take it from users and bridge by itself, which proves
// nothing. The time that the bridge spends on it is the bridge's, and counts.
package main
