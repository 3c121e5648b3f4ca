package sio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// pollRelease is how long a GET waits for data while the client is about to
// leave polling for websocket.
const pollRelease = 100 * time.Millisecond

// maxPayloadPackets is how many packets one polling answer holds. python-engineio rejects an
// answer with more, and then loses them.
const maxPayloadPackets = 16

// poll serves a GET of a session: it waits until packets are queued and answers with the first
// of them. A second GET at the same time ends the session, as the protocol demands.
func (c *conn) poll(w http.ResponseWriter, r *http.Request) {
	if !c.begin(&c.getting) {
		refuse(w, http.StatusBadRequest, badRequest)
		return
	}
	// The HTTP server's read deadline for whole requests would end this one while it waits.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	payload, err := c.awaitPayload(r.Context())
	if err != nil {
		c.release(&c.getting)
		c.end(ReasonTransportClose, abort)
		return
	}
	h := w.Header()
	payload = c.zip(payload, r.Header, h)
	defer payload.release()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("Content-Length", strconv.Itoa(len(payload.b)))
	h.Set("Cache-Control", "no-store")
	if err := c.respond(w, payload); err != nil {
		c.end(writeReason(err), abort)
	}
}

// begin reserves the session's GET or POST. There is one at a time; an overlap ends the session.
func (c *conn) begin(busy *bool) bool {
	c.mu.Lock()
	if c.link != nil {
		c.mu.Unlock()
		return false // upgraded to websocket
	}
	if *busy {
		c.mu.Unlock()
		c.end(ReasonProtocol, flush)
		return false
	}
	*busy = true
	c.mu.Unlock()
	return true
}

// awaitPayload waits for the answer to a GET.
func (c *conn) awaitPayload(ctx context.Context) (*buffer, error) {
	waited := false
	for {
		payload, releasePoll := c.takePayload(waited)
		if payload != nil {
			return payload, nil
		}
		var release <-chan time.Time
		if releasePoll {
			release = time.After(pollRelease)
		}
		select {
		case <-c.wake:
		case <-release:
			waited = true
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// takePayload takes the first packets that are queued or, when nothing is queued and the
// connection has ended, the last packet. When the GET must return, because of an upgrade, it
// takes at least a noop. With a payload it releases the GET: the client may send the next one,
// on another connection, when it has read the answer and before poll has returned.
func (c *conn) takePayload(mustGo bool) (payload *buffer, releasePoll bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.link != nil: // the queue belongs to the websocket now
		payload = buffers.Get().(*buffer)
		payload.b = append(payload.b, noopPacket.text...)
		c.count(len(payload.b))
	case c.ended && c.out == nil:
		c.append(c.last)
		payload, c.out = c.out, nil
		c.finish()
	case c.ended:
		// The close packet has an answer of its own. If events came with it, the JavaScript
		// client would close first, keep them, and deliver them again on its next connection.
		payload = c.splitPayload()
		c.linger()
	default:
		if mustGo && c.out == nil {
			c.append(noopPacket)
		}
		payload = c.splitPayload()
	}
	c.getting = c.getting && payload == nil
	return payload, c.releasePoll
}

// splitPayload takes up to maxPayloadPackets from the head of the queue, or nil. It does not
// copy the rest: a client that is behind by a full queue fetches it in thousands of answers.
// With c.mu held, while polling.
func (c *conn) splitPayload() *buffer {
	queue := c.out
	if queue == nil {
		return nil
	}
	end := payloadEnd(queue.b)
	if end == len(queue.b) {
		c.out = nil
		return queue
	}
	payload := buffers.Get().(*buffer)
	payload.b = append(payload.b, queue.b[:end]...)
	queue.b = queue.b[end+1:]
	c.discount(1) // the separator
	return payload
}

// payloadEnd returns where the first maxPayloadPackets of a payload end.
func payloadEnd(payload []byte) int {
	end := 0
	for range maxPayloadPackets {
		n := bytes.IndexByte(payload[end:], separator)
		if n < 0 {
			return len(payload)
		}
		end += n + 1
	}
	return end - 1
}

// respond writes the payload as the body. It resets the write deadline, which holds for the
// whole HTTP connection.
func (c *conn) respond(w http.ResponseWriter, payload *buffer) error {
	rc := http.NewResponseController(w)
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }()
	return c.writeOut(payload.b, func(b []byte) error {
		deadline := time.Now().Add(c.srv.cfg.WriteTimeout)
		if err := rc.SetWriteDeadline(deadline); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		if _, err := w.Write(b); err != nil { // #nosec G705 -- sent as text/plain
			return err
		}
		if err := rc.Flush(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		return nil
	})
}

// endPolling ends a session that polls. A GET that waits takes what is queued; without one, the
// client has closeGrace for the next GETs. So has a client during an upgrade: it does not poll,
// and when its websocket closes at this point the JavaScript client waits until its ping
// timeout. With c.mu held.
func (c *conn) endPolling() {
	switch {
	case c.getting:
		// close has woken it; takePayload does the rest.
	case c.out != nil, c.releasePoll:
		c.linger()
	default:
		c.finish()
	}
}

// linger gives the client closeGrace to poll for each of the remaining answers, and pollGrace
// for all of them. With c.mu held.
func (c *conn) linger() {
	if c.kill == nil {
		c.killBy = time.Now().Add(pollGrace)
		c.kill = time.AfterFunc(closeGrace, c.giveUp)
		return
	}
	c.kill.Reset(min(closeGrace, time.Until(c.killBy)))
}

// releasePolls makes each GET return soon, so that the client can leave polling.
func (c *conn) releasePolls() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.releasePoll = true
	c.signal()
}

// post serves a POST of a session: packets of the client.
func (c *conn) post(w http.ResponseWriter, r *http.Request) {
	if !c.begin(&c.posting) {
		refuse(w, http.StatusBadRequest, badRequest)
		return
	}
	defer c.release(&c.posting) // before the answer, which is still in net/http's buffer
	in := incoming{c: c}
	defer in.release()
	err := in.body(w, r)
	if err == nil {
		err = c.receivePayload(in.text)
	}
	if err == nil {
		w.Header().Set("Content-Type", "text/html") // never shown; browsers must not offer it as a download
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, "ok") // a client that is gone is noticed elsewhere
		return
	}
	reason, how := endOf(err)
	c.end(reason, how)
	switch {
	case errors.Is(err, errMemory):
		refuse(w, http.StatusServiceUnavailable, badRequest)
	case reason == ReasonTooLarge:
		refuse(w, http.StatusRequestEntityTooLarge, badRequest)
	default:
		refuse(w, http.StatusBadRequest, badRequest)
	}
}

// release undoes begin.
func (c *conn) release(busy *bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*busy = false
}

func (c *conn) receivePayload(body []byte) error {
	for text := range bytes.SplitSeq(body, []byte{separator}) {
		if len(text) < len(body) {
			text = bytes.Clone(text) // an event that waits must not keep the whole body in memory
		}
		if err := c.receive(text); err != nil {
			return err
		}
	}
	return nil
}
