package sio

import (
	"encoding/json"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// AckFunc is called once, with the arguments of the acknowledgement or with [ErrAckTimeout] or
// [ErrClosed].
type AckFunc func(args []json.RawMessage, err error)

// acks are the acknowledgements that a client owes. The goroutine that removes one from the map
// calls its function, so that each is called once.
type acks struct {
	mu      sync.Mutex // guards what follows
	last    uint64
	waiting map[uint64]pendingAck
}

type pendingAck struct {
	done  AckFunc
	timer *time.Timer
}

// EmitWithAck queues an event, as [Socket.Queue] does, that the client must acknowledge. done is
// called exactly once, in order with the Handler's calls for this socket. When EmitWithAck
// returns an error, done is never called.
func (s *Socket) EmitWithAck(name string, timeout time.Duration, args []any, done AckFunc) error {
	if reserved[name] {
		return ErrReserved
	}
	id := s.acks.add(done, timeout, s.expireAck)
	p, err := eventPacket("42"+strconv.FormatUint(id, 10), name, args, false) // in the client the last argument is the callback
	if err == nil {
		err = s.Queue(p)
	}
	if err != nil {
		if _, ok := s.acks.take(id); ok {
			return err
		}
		// The socket has ended meanwhile and has called done.
	}
	return nil
}

func (a *acks) add(done AckFunc, timeout time.Duration, expire func(id uint64)) uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = make(map[uint64]pendingAck)
	}
	a.last++
	id := a.last
	a.waiting[id] = pendingAck{done, time.AfterFunc(timeout, func() { expire(id) })}
	return id
}

func (a *acks) has(id uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.waiting[id]
	return ok
}

func (a *acks) take(id uint64) (AckFunc, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.waiting[id]
	if ok {
		p.timer.Stop()
		delete(a.waiting, id)
	}
	return p.done, ok
}

// expireAck is called by the timer. After the end of the socket abandonAcks does its work.
func (s *Socket) expireAck(id uint64) {
	s.queue.addOwn(func() {
		if done, ok := s.acks.take(id); ok {
			done(nil, ErrAckTimeout)
		}
	})
}

// abandonAcks ends all acknowledgements that are still owed.
func (s *Socket) abandonAcks() {
	s.acks.mu.Lock()
	waiting := s.acks.waiting
	s.acks.waiting = nil
	s.acks.mu.Unlock()
	for _, p := range waiting {
		p.timer.Stop()
		s.conn.srv.guard(func() { p.done(nil, ErrClosed) })
	}
}

// answer returns the function by which the Handler acknowledges a client's event. Its second
// call has no effect.
func (s *Socket) answer(id uint64) func(args ...any) {
	var called atomic.Bool
	return func(args ...any) {
		if called.Swap(true) {
			return
		}
		data, err := json.Marshal(append([]any{}, args...))
		if err != nil {
			s.conn.srv.log.Warn("acknowledgement not encoded", "socket", s.id, "err", err)
			return
		}
		_ = s.Queue(textPacket("43" + strconv.FormatUint(id, 10) + string(data))) // a closed socket needs no answer
		s.conn.srv.Flush()                                                        // together with what the Handler has queued
	}
}
