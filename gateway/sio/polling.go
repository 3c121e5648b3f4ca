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

// maxPayloadPackets is how many packets one polling answer holds. python-engineio
// refuses an answer that holds more, and asks for the same packets no second time.
const maxPayloadPackets = 16

// poll serves a GET of a session: it waits until something is queued and answers with
// the first packets of it. A second GET at the same time ends the session, as the
// protocol asks.
func (c *conn) poll(w http.ResponseWriter, r *http.Request) {
	if !c.begin(&c.getting) {
		refuse(w, http.StatusBadRequest, badRequest)
		return
	}
	// A read deadline that the HTTP server has set for whole requests would end
	// this one while it hangs, as it should.
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

// begin claims the session's GET or POST, of which there is one at a time. An
// overlap ends the session.
func (c *conn) begin(busy *bool) bool {
	c.mu.Lock()
	if c.link != nil {
		c.mu.Unlock()
		return false // it has come over to websocket
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

// awaitPayload waits for something to answer a GET with.
func (c *conn) awaitPayload(ctx context.Context) (*buffer, error) {
	waited := false
	for {
		payload, letGo := c.takePayload(waited)
		if payload != nil {
			return payload, nil
		}
		var release <-chan time.Time
		if letGo {
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

// takePayload takes what is queued, if there is anything, and the last packet
// when the connection has ended and nothing is. When the GET must go, because of
// an upgrade, it takes at least a packet that says nothing. With a payload the
// GET is given back: the client may send the next one, on another connection,
// when it has read the answer and before poll has returned.
func (c *conn) takePayload(mustGo bool) (payload *buffer, letGo bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.link != nil: // the queue is the websocket's now
		payload = buffers.Get().(*buffer)
		payload.b = append(payload.b, noopPacket.text...)
		c.count(len(payload.b))
	case c.ended && c.out == nil:
		c.append(c.last)
		payload, c.out = c.out, nil
		c.finish()
	case c.ended:
		// The close packet has an answer of its own. Together with events, the
		// JavaScript client would first close, keep the events for its next
		// connection and deliver them there a second time.
		payload = c.splitPayload()
		c.linger()
	default:
		if mustGo && c.out == nil {
			c.append(noopPacket)
		}
		payload = c.splitPayload()
	}
	c.getting = c.getting && payload == nil
	return payload, c.letGo
}

// splitPayload takes up to maxPayloadPackets from the head of the queue; nil when it is
// empty. The rest stays in its memory and is not copied: a client that has fallen behind
// by a full queue fetches it in thousands of answers. With c.mu held, while polling.
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

// respond writes the payload as the body. Write deadlines belong to the whole
// HTTP connection, so the last one is taken back.
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

// endPolling ends a session that polls. A GET that hangs takes what is queued;
// without one the next GETs have closeGrace to come for it, and so has a client
// that is half-way to websocket: it polls no more, and the JavaScript client,
// when its websocket closes at this point, waits for nothing until its own ping
// timeout. With c.mu held.
func (c *conn) endPolling() {
	switch {
	case c.getting:
		// It has been woken and comes by takePayload.
	case c.out != nil, c.letGo:
		c.linger()
	default:
		c.finish()
	}
}

// linger gives the client closeGrace to poll for the rest, anew with each answer that it
// fetches, and pollGrace for all of them. With c.mu held.
func (c *conn) linger() {
	if c.kill == nil {
		c.killBy = time.Now().Add(pollGrace)
		c.kill = time.AfterFunc(closeGrace, c.giveUp)
		return
	}
	c.kill.Reset(min(closeGrace, time.Until(c.killBy)))
}

// letPollsGo sees that no GET hangs, so that the client can leave polling.
func (c *conn) letPollsGo() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.letGo = true
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
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "text/html") // never shown; browsers must not offer it as a download
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, "ok") // a client that is gone is noticed elsewhere
	case errors.Is(err, errMemory):
		refuse(w, http.StatusServiceUnavailable, badRequest)
	case errors.As(err, &tooLarge):
		c.end(ReasonTooLarge, flush)
		refuse(w, http.StatusRequestEntityTooLarge, badRequest)
	case errors.Is(err, errNamespaces):
		c.end(ReasonNamespaces, flush)
		refuse(w, http.StatusBadRequest, badRequest)
	case errors.Is(err, errNoise):
		c.end(ReasonRateLimited, flush)
		refuse(w, http.StatusBadRequest, badRequest)
	case errors.Is(err, errPacket):
		c.end(ReasonProtocol, flush)
		refuse(w, http.StatusBadRequest, badRequest)
	default:
		c.end(ReasonTransportClose, abort)
		refuse(w, http.StatusBadRequest, badRequest)
	}
}

// release gives back what begin has claimed.
func (c *conn) release(busy *bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*busy = false
}

func (c *conn) receivePayload(body []byte) error {
	for text := range bytes.SplitSeq(body, []byte{separator}) {
		if len(text) < len(body) {
			text = bytes.Clone(text) // an event that waits must not keep the others
		}
		if err := c.receive(text); err != nil {
			return err
		}
	}
	return nil
}
