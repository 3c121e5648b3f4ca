// Package hub holds the sockets of this node by user. It binds them to users, delivers and
// replays messages in the order of their offsets, resumes clients, and answers their events.
package hub
