package bridge

import "time"

// mostIdleLogs is how many logs without a message are remembered, for what has left them: some
// 40 MB. Of more, some are forgotten; their users' next cursor may be told a gap that is none.
const mostIdleLogs = 200_000

// evict drops what is beyond the bounds. With x.mu held.
func (x *Index) evict(now time.Time) {
	expired := now.Add(-x.cfg.TTL).UnixMilli()
	for x.order.len() > 0 && x.order.at(0).stored <= expired {
		x.dropOldest()
	}
	for x.bytes > x.cfg.MaxMemory && x.dropPayload() {
	}
	for x.bytes > x.cfg.MaxMemory && x.order.len() > 0 {
		x.dropOldest()
		x.counts.Evicted++
	}
	if x.idle > mostIdleLogs {
		x.forget()
	}
}

// dropOldest drops the oldest message of all. With x.mu held.
func (x *Index) dropOldest() {
	o := x.order.at(0)
	if l := o.log; l != nil && len(l.entries) > 0 && l.entries[0].seq == o.seq {
		x.dropFirst(l)
	}
	delete(x.withdrawn, o.seq)
	x.bytes -= o.payload
	x.order.drop()
}

// dropFirst drops the oldest message of a log. With x.mu held.
func (x *Index) dropFirst(l *indexLog) {
	x.bytes -= indexEntryBytes
	l.left = l.entries[0].seq
	l.entries[0] = indexEntry{}
	l.entries = l.entries[1:]
	if len(l.entries) == 0 {
		l.entries = nil
		x.idle++
	}
}

// dropPayload drops the oldest payload of all. With x.mu held.
func (x *Index) dropPayload() bool {
	o := x.order.unload()
	if o == nil {
		return false
	}
	x.bytes -= o.payload
	o.payload = 0
	if o.log == nil {
		return true
	}
	if i, found := o.log.find(o.seq); found {
		o.log.entries[i].kept = nil
		x.counts.Unloaded++
	}
	return true
}

// forget drops some of the logs without a message. With x.mu held.
func (x *Index) forget() {
	for user, l := range x.logs {
		if len(l.entries) > 0 {
			continue
		}
		x.least = max(x.least, l.left)
		delete(x.logs, user)
		x.bytes -= indexLogBytes
		if x.idle--; x.idle <= mostIdleLogs*9/10 {
			return
		}
	}
}
