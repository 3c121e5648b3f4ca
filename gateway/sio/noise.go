package sio

import (
	"errors"
	"time"
)

// maxNoise is how many packets without meaning one connection may send in a minute: pings,
// pongs that were not asked for, and open, upgrade and noop packets. Browsers send none; other clients ping every few seconds.
const maxNoise = 120

// errNoise means that a client has said too often what means nothing.
var errNoise = errors.New("too much noise")

// noisy counts one of them. Each costs what an event costs: a system call to read
// it and, for a ping, one to answer. With c.inbound held.
func (c *conn) noisy() error {
	if c.noise.over(time.Now(), maxNoise) {
		return errNoise
	}
	return nil
}

// onFrame takes a websocket ping or pong, which the reader sees before any packet.
func (c *conn) onFrame(answer func() error) error {
	c.inbound.Lock()
	defer c.inbound.Unlock()
	if err := c.noisy(); err != nil {
		return err
	}
	return answer()
}
