package store

import (
	"maps"
	"slices"
	"sync"
)

var saved sync.Map // *Memory -> *Memory

// Save and Back let tests put a Memory back to an earlier state, as Redis can be.

func (m *Memory) Save() {
	m.mu.Lock()
	defer m.mu.Unlock()
	saved.Store(m, m.copied())
}

func (m *Memory) Back() {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept, _ := saved.Load(m)
	was := kept.(*Memory).copied()
	m.users, m.sessions, m.nodes, m.joins = was.users, was.sessions, was.nodes, was.joins
	clear(m.canaries) // a Redis that was put back is another server, whatever value it has
}

// copied is a copy of who is where. With m.mu held.
func (m *Memory) copied() *Memory {
	c := &Memory{users: maps.Clone(m.users), sessions: maps.Clone(m.sessions), nodes: maps.Clone(m.nodes), joins: m.joins}
	for id, u := range c.users {
		was := *u
		was.sockets, was.sessions = slices.Clone(u.sockets), slices.Clone(u.sessions)
		c.users[id] = &was
	}
	return c
}
