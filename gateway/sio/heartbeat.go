package sio

import "time"

// The library's heartbeat is disabled. Its timers race with its handling of pongs: a client that
// sends unexpected pongs crashes the process or is never pinged again.

// onGrid lengthens a time by up to a hundredth, so that it ends together with those of other
// connections. Figure: 20,000 idle connections took 2.4 % of a core instead of 6.2 %
// (docs/bench/connections.md).
func onGrid(d time.Duration) time.Duration {
	slot := max(d/100, 1)
	return d + (slot-time.Duration(time.Now().Add(d).UnixNano())%slot)%slot
}

// startHeartbeat queues the OPEN packet and starts the timers. It checks no bound for the packet:
// a connection must have its timers when it ends.
func (c *conn) startHeartbeat(open *Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.append(open)
	c.beat = time.AfterFunc(onGrid(c.srv.cfg.PingInterval), c.onBeat)
	c.late = time.AfterFunc(c.srv.cfg.ConnectTimeout, func() { c.end(ReasonConnectTimeout, flush) })
}

// arrived stops the timer of a client that has joined.
func (c *conn) arrived() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late.Stop()
	c.late = nil
}

// onBeat pings the client or, when it owes a pong, ends the connection.
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

// onPong handles a pong. It reports false for a pong without a ping, which has no effect.
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
