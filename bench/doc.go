// Bench measures the bridge from the outside, and in the same run the Node service that it
// replaces (bench/peer): `make bench`, or `go run ./bench -run durable`.
//
// Each repetition of each row starts processes of its own, on loopback: a redis-server, a
// nats-server and the server under test. The browsers are raw WebSockets of this process,
// read by one goroutine (swarm); messages are published over JetStream, core NATS or POST
// /sendPayload. Everything is on one machine and shares its processors, so this process is
// made to cost little, and says what it cost.
//
// # What a figure is
//
//   - Each user's messages are numbered, and each browser checks its numbers: a loss, a
//     duplicate or an inversion is printed, and the program ends with status 1.
//   - msg/s counts from the first publish to the last receipt. As many messages as the window
//     are on their way at a time, so that both servers work at their limit, and not on a
//     backlog.
//   - CPU is user and system time of each process between the same two moments, by message.
//   - Latency is from the moment at which a message was to be published at that rate, whether
//     or not it could be, to its receipt; by the one clock of this process.
//   - A row over repetitions is the median of each figure, but for latencies: their
//     histograms are merged. A connect that failed counts in the denominator.
package main
