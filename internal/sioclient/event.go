package sioclient

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Event is what the server has emitted.
type Event struct {
	Name string
	Args []json.RawMessage // its arguments, in the sender's own spelling

	confirm *uint64
}

// Read returns the next event. It answers heartbeats, and hands answers to those
// who wait for them; an error of theirs is returned. After an error the
// connection is of no more use.
func (c *Conn) Read() (Event, error) {
	for {
		text, err := c.text()
		if err != nil {
			return Event{}, err
		}
		if len(text) < 2 || text[0] != '4' {
			return Event{}, strange(text)
		}
		switch text[1] {
		case '1':
			return Event{}, ErrLeft
		case '2':
			return c.event(text)
		case '3':
			if err := c.answer(text); err != nil {
				return Event{}, err
			}
		default:
			return Event{}, strange(text)
		}
	}
}

func (c *Conn) event(text []byte) (e Event, err error) {
	id, hasID, args, err := parse(text)
	if err != nil {
		return Event{}, err
	}
	if len(args) == 0 || json.Unmarshal(args[0], &e.Name) != nil {
		return Event{}, strange(text)
	}
	e.Args = args[1:]
	if hasID {
		e.confirm = &id
		return e, nil // its last argument is the confirming function, at the stock client
	}
	var offset string
	if n := len(e.Args); c.session.PID != "" && n > 0 && json.Unmarshal(e.Args[n-1], &offset) == nil {
		c.session.Offset = offset // as the stock client: the last argument, when it is a text
	}
	return e, nil
}

// answer hands an ACK packet to who has called.
func (c *Conn) answer(text []byte) error {
	id, hasID, args, err := parse(text)
	if err != nil {
		return err
	}
	take, waits := c.calls[id]
	if !hasID || !waits {
		return strange(text)
	}
	delete(c.calls, id)
	return take(args)
}

// parse takes a packet apart: its id, if any, and its array.
func parse(text []byte) (id uint64, hasID bool, args []json.RawMessage, err error) {
	i := 2
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	if hasID = i > 2; hasID {
		if id, err = strconv.ParseUint(string(text[2:i]), 10, 64); err != nil {
			return 0, false, nil, strange(text)
		}
	}
	if json.Unmarshal(text[i:], &args) != nil {
		return 0, false, nil, strange(text)
	}
	return id, hasID, args, nil
}

// Wanted reports whether the sender of an event asks that it be confirmed.
func (e Event) Wanted() bool { return e.confirm != nil }

// Confirm tells the sender that the page has the event. It does nothing for an
// event that needs no confirming.
func (c *Conn) Confirm(e Event) error {
	if e.confirm == nil {
		return nil
	}
	return c.write(append(strconv.AppendUint([]byte("43"), *e.confirm, 10), "[]"...))
}

// Call emits an event and has Read give the answer to take. An error of take
// comes out of Read.
func (c *Conn) Call(take func(args []json.RawMessage) error, name string, args ...any) error {
	b, err := json.Marshal(append([]any{name}, args...))
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	c.lastCall++
	c.calls[c.lastCall] = take
	return c.write(append(strconv.AppendUint([]byte("42"), c.lastCall, 10), b...))
}

// Emit emits an event and wants no answer.
func (c *Conn) Emit(name string, args ...any) error {
	b, err := json.Marshal(append([]any{name}, args...))
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return c.write(append([]byte("42"), b...))
}

// SetUser asks to be mapped to a user. Read then calls mapped, or returns a
// [*RefusedError]. Events may come before.
func (c *Conn) SetUser(user string, mapped func()) error {
	return c.Call(func(args []json.RawMessage) error {
		var answer struct {
			OK          bool
			Error, Code string
		}
		if len(args) != 1 || json.Unmarshal(args[0], &answer) != nil {
			return fmt.Errorf("%w: setUserId answered %.100q", ErrProtocol, args)
		}
		if !answer.OK {
			return &RefusedError{Code: answer.Code, Message: answer.Error}
		}
		mapped()
		return nil
	}, "setUserId", user)
}
