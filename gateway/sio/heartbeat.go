package sio

import "time"

// The heartbeat is ours and the library's is switched off: its timers race with
// its own handling of pongs, and a client that sends pongs nobody asked for
// kills the process or is never pinged again.

// onGrid makes a time up to a hundredth longer, so that it ends together with those
// of other connections: a process that is woken four times a second for two hundred
// pings is cheaper than one that is woken for each.
func onGrid(d time.Duration) time.Duration {
	slot := max(d/100, 1)
	return d + (slot-time.Duration(time.Now().Add(d).UnixNano())%slot)%slot
}

// startHeartbeat begins with a client that has not joined yet, by the packet that tells it of
// the heartbeat. The packet asks for no room: a connection that ends must have its timers.
func (c *conn) startHeartbeat(open *Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.append(open)
	c.beat = time.AfterFunc(onGrid(c.srv.cfg.PingInterval), c.onBeat)
	c.late = time.AfterFunc(c.srv.cfg.ConnectTimeout, func() { c.end(ReasonConnectTimeout, flush) })
}

// arrived says that the client has joined, in time.
func (c *conn) arrived() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late.Stop()
	c.late = nil
}

// onBeat pings the client or, when it owes a pong, gives it up.
func (c *conn) onBeat() {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return
	}
	if c.pinged {
		c.mu.Unlock()
		c.end(ReasonPingTimeout, abort)
		return
	}
	c.pinged = true
	c.append(pingPacket)
	c.beat.Reset(c.srv.cfg.PingTimeout)
	c.mu.Unlock()
}

// onPong takes the answer to a ping. A pong without a ping means nothing; onPong
// then reports false.
func (c *conn) onPong() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.pinged || c.ended {
		return false
	}
	c.pinged = false
	c.beat.Reset(onGrid(c.srv.cfg.PingInterval))
	return true
}
