package bridge

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
)

// DecodeRequest reads the body of a /sendPayload request: a JSON object with
// `userId`, `topic` and the payload's own keys. An error is an [*InvalidError].
// The payload is a copy; body may be reused.
func DecodeRequest(body []byte) (Envelope, error) {
	parts, err := split(body, nil)
	if err != nil {
		return Envelope{}, err
	}
	e, err2 := parts.envelope(parts.topic)
	if err2 == nil && ReservedUser(e.User) {
		return Envelope{}, errReserved
	}
	return e, err2
}

// Decode reads a message of the stream. An error is an [*InvalidError]. The payload is a copy.
func Decode(m *Message) (Envelope, error) { return decode(m, nil) }

// decode reads a message of the stream. Its topic is the subject's rest; one in
// the body is optional and must agree. The payload is in room, or allocated where that is
// less than the body. An error is an [*InvalidError].
func decode(m *Message, room []byte) (Envelope, error) {
	parts, err := split(m.Body, room)
	if err != nil {
		return Envelope{}, err
	}
	if parts.topic != "" && parts.topic != m.Topic {
		return Envelope{}, errMismatch
	}
	e, err2 := parts.envelope(m.Topic)
	if err2 == nil {
		err2 = m.checkOptions()
	}
	e.Offset, e.Stored = m.Offset, m.Stored
	return e, err2
}

// parts is a body taken apart.
type parts struct {
	user    string
	topic   string // empty when absent
	payload []byte
}

func (p parts) envelope(topic string) (Envelope, error) {
	switch {
	case p.user == "":
		return Envelope{}, errNoUser
	case topic == "":
		return Envelope{}, errNoTopic
	case !ValidUserID(p.user):
		return Envelope{}, errUserID
	case !ValidTopic(topic):
		return Envelope{}, errTopic
	}
	return Envelope{User: UserID(p.user), Topic: topic, Payload: p.payload}, nil
}

// split takes userId and topic out of a JSON object and does not change any other byte:
// order, spelling and white space are the sender's. It validates the whole object
// and decodes only these two members. The payload is in room, when that is large enough.
func split(body, room []byte) (parts, *InvalidError) {
	if !utf8.Valid(body) {
		return parts{}, errUTF8.at(invalidUTF8(body), "UTF-8")
	}
	s := scanner{b: body, depth: 1}
	if !s.next('{') {
		return parts{}, notAnObject(body)
	}
	if cap(room) < len(body) {
		room = make([]byte, 0, len(body))
	}
	p := parts{payload: append(room[:0], '{')}
	end, err := p.members(&s)
	if err != nil {
		return parts{}, s.place(err)
	}
	if len(p.payload) == 1 {
		end = s.i - 1 // an empty object needs no white space
	}
	p.payload = append(p.payload, body[end:s.i]...)
	if s.space(); s.i != len(body) {
		return parts{}, s.place(s.fail(wantEnd))
	}
	return p, nil
}

// wantEnd is expected after the value.
const wantEnd = "the end of the text"

// place adds the position of the scanner to an error of the text. An error of a member has
// its name instead.
func (s *scanner) place(err *InvalidError) *InvalidError {
	if err.Field != "" {
		return err
	}
	return err.at(s.i, s.want)
}

// invalidUTF8 returns the index of the first byte that begins no character.
func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(b)
}

// members consumes an object up to and with its closing brace, and returns where
// the last member ended.
func (p *parts) members(s *scanner) (end int, err *InvalidError) {
	var keys keySet
	end = s.i
	s.space()
	head := s.b[end:s.i] // white space before the first member
	if s.next('}') {
		return end, nil
	}
	for {
		s.space()
		start := s.i
		raw, err := s.key()
		if err != nil {
			return 0, err
		}
		key := unquote(raw)
		if !keys.add(key) {
			s.i, s.want = start, "another key"
			return 0, errDuplicateKey
		}
		s.space()
		from := s.i
		if err = s.value(); err != nil {
			return 0, err
		}
		switch value := s.b[from:s.i]; string(key) {
		case "userId":
			p.user, err = userText(value)
		case "topic":
			p.topic, err = topicText(value)
		default:
			between := s.b[end:start] // the comma and the white space around it
			if len(p.payload) == 1 {
				between = head
			}
			p.payload = append(append(p.payload, between...), s.b[start:s.i]...)
		}
		if err != nil {
			return 0, err
		}
		end = s.i
		if s.next('}') {
			return end, nil
		}
		if !s.next(',') {
			return 0, s.fail("a comma or }")
		}
	}
}

// notAnObject distinguishes a value that is not an object from invalid JSON.
func notAnObject(body []byte) *InvalidError {
	s := scanner{b: body}
	if err := s.value(); err != nil {
		return s.place(err)
	}
	if s.space(); s.i != len(body) {
		return s.place(s.fail(wantEnd))
	}
	return errNotObject
}

// unquote decodes a string that was scanned before.
func unquote(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return raw // cannot be: it was scanned
	}
	return []byte(s)
}

// userText reads a user id, a string or a number. Null and "" mean that it is missing.
func userText(raw []byte) (string, *InvalidError) {
	switch c := raw[0]; {
	case c == '"':
		return string(unquote(raw)), nil
	case c == 'n':
		return "", nil
	case c == '-' || '0' <= c && c <= '9':
		return numberText(raw)
	}
	return "", errUserID
}

// numberText formats a number like JavaScript's String(): a client that calls setUserId(42) and a
// publisher that sends 42.0 mean the same user. An integer of more than 53 bits, which JavaScript cannot
// represent, keeps its digits.
func numberText(raw []byte) (string, *InvalidError) {
	if !bytes.ContainsAny(raw, ".eE") {
		if string(raw) == "-0" {
			return "0", nil
		}
		return string(raw), nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || math.IsInf(f, 0) {
		return "", errUserID
	}
	if f == 0 {
		return "0", nil // also for -0
	}
	text, _ := json.Marshal(f) // by ECMAScript's rules, as encoding/json promises
	return string(text), nil
}

func topicText(raw []byte) (string, *InvalidError) {
	switch raw[0] {
	case '"':
		return string(unquote(raw)), nil
	case 'n':
		return "", nil
	}
	return "", errTopic
}

// keySet finds duplicate keys. Small objects, which are the usual ones,
// need no map.
type keySet struct {
	few  [16][]byte
	n    int
	many map[string]struct{}
}

func (k *keySet) add(key []byte) bool {
	if k.many != nil {
		if _, twice := k.many[string(key)]; twice {
			return false
		}
		k.many[string(key)] = struct{}{}
		return true
	}
	for _, have := range k.few[:k.n] {
		if bytes.Equal(have, key) {
			return false
		}
	}
	if k.n < len(k.few) {
		k.few[k.n] = key
		k.n++
		return true
	}
	k.many = make(map[string]struct{}, 4*len(k.few))
	for _, have := range k.few {
		k.many[string(have)] = struct{}{}
	}
	k.many[string(key)] = struct{}{}
	return true
}

// ParseUserID reads a user id from one JSON value, by the same rules as in a
// request. An error is an [*InvalidError].
func ParseUserID(raw []byte) (UserID, error) {
	s := scanner{b: raw}
	if s.space(); s.value() != nil || s.i != len(raw) {
		return "", errUserID
	}
	user, err := userText(bytes.TrimLeft(raw, " \t\r\n"))
	if err != nil || !ValidUserID(user) {
		return "", errUserID
	}
	if ReservedUser(UserID(user)) {
		return "", errReserved
	}
	return UserID(user), nil
}
