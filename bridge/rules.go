package bridge

import (
	"unicode"
	"unicode/utf8"
)

// Limits of what CONTRACT allows in an envelope.
const (
	MaxTopic  = 128 // characters of a topic
	MaxUserID = 128 // characters (not bytes) of a user id
)

// reserved are the names that Socket.IO emits itself; a client library throws
// when an application uses one.
var reserved = map[string]bool{
	"connect": true, "connect_error": true, "disconnect": true,
	"disconnecting": true, "newListener": true, "removeListener": true,
}

// ValidTopic reports whether s may be a topic: 1 to [MaxTopic] characters, NATS
// tokens of [A-Za-z0-9_:-] joined by dots, and none of Socket.IO's own events.
func ValidTopic(s string) bool {
	if s == "" || len(s) > MaxTopic || reserved[s] {
		return false
	}
	token := 0 // length of the current token
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if token == 0 {
				return false
			}
			token = 0
		case isWord(c) || c == ':':
			token++
		default:
			return false
		}
	}
	return token > 0
}

// ValidUserID reports whether s may be a user id: 1 to [MaxUserID] printable
// characters of valid UTF-8. Control characters, line separators and invisible
// format characters are refused, so an id is safe to log.
func ValidUserID(s string) bool {
	if s == "" || len(s) > MaxUserID*utf8.UTFMax || !utf8.ValidString(s) {
		return false
	}
	n := 0
	for _, r := range s {
		if n++; n > MaxUserID || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// ValidPayload reports whether b is what [Envelope.Payload] promises: a JSON object of valid UTF-8
// and of at most [MaxDepth] levels.
func ValidPayload(b []byte) bool {
	if len(b) == 0 || b[0] != '{' || !utf8.Valid(b) {
		return false
	}
	s := scanner{b: b}
	return s.value() == nil && s.i == len(b)
}

func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}
