package sio

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// join lets a client join the namespace "/". It is called once for each connection.
func (c *conn) join(a Auth) {
	s := newSocket(c)
	if !c.setSocket(s) {
		return
	}
	c.present(a)
	if refusal := c.srv.admitClient(s); refusal != nil {
		c.refuseJoin(refusal)
		return
	}
	a.Token = "" // no later call needs the secret
	c.present(a)
	restored := c.srv.restore(s)
	c.srv.WithConnectSlot(c.ctx, func() { // not called when the connection has ended, and with it the socket
		if !restored {
			s.pid = newSecretID()
			c.srv.claim(newSocketID(), s)
		}
		c.srv.library.join(c)
		c.writeHeld() // the client waits for it
	})
}

// joined is called when the answer to CONNECT is queued.
func (c *conn) joined() {
	s := c.socket()
	if !s.queue.open(func() { c.srv.connect(s) }) {
		c.srv.forgetSocket(s) // the connection has ended meanwhile
	}
	c.arrived()
}

// largeConnect reports whether an Engine.IO packet is a CONNECT of more than most bytes.
func largeConnect(text []byte, most int) bool {
	return len(text) > most && text[1] == byte(connectType)
}

// connectNamespace returns the namespace of a CONNECT that is too large to be parsed.
func connectNamespace(text []byte) string {
	name, _, named := bytes.Cut(text[2:min(len(text), 2+maxNamespace+1)], []byte(","))
	if !named || len(name) == 0 || name[0] != '/' || !validNamespace(name) || !utf8.Valid(name) {
		return "/"
	}
	return string(name)
}

// refuseJoin ends a client that may not join. Its library retries only after Refusal.Later.
func (c *conn) refuseJoin(why *Refusal) {
	c.forgetRequest()
	if why.Later {
		c.end(ReasonRefused, flush)
		return
	}
	c.endRefused("/", why, ReasonRefused)
}

// endRefused answers a CONNECT with CONNECT_ERROR and ends the connection.
func (c *conn) endRefused(namespace string, why *Refusal, reason string) {
	prefix := "44"
	if namespace != "/" {
		prefix += namespace + ","
	}
	text, _ := json.Marshal(map[string]any{"message": why.Message, "data": map[string]any{"code": why.Code}}) // cannot fail
	_ = c.push(textPacket(prefix + string(text)))                                                             // a closed connection needs no answer
	c.end(reason, flush)
}
