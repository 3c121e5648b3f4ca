package subscriber

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
)

// A reply subject and a receipt subject are chosen by another client. The bridge's own
// permissions are wider than its clients', so what it publishes there is guarded: a
// message to "$JS.API.STREAM.PURGE.CODEWAR" would empty the stream.

// maxReplySubject bounds, in bytes, a subject that another client has chosen.
const maxReplySubject = 256

var errReplySubject = errors.New("the reply subject is no inbox")

// respond answers a message of another node, which always comes from an inbox.
func respond(m *nats.Msg, data []byte) error {
	if !isInbox(m.Reply) {
		return errReplySubject
	}
	return m.Respond(data)
}

// isInbox reports whether s is a subject on which a client takes answers.
func isInbox(s string) bool {
	return len(s) <= maxReplySubject && strings.HasPrefix(s, inboxPrefix+".") && plainSubject(s)
}

// mayReceive reports whether a receipt may go to a subject: an inbox, or what nats.receipt_subjects
// allows, but never a subject of NATS, of the bridge, or of publishers.
func (c Config) mayReceive(subject string) bool {
	if isInbox(subject) {
		return true
	}
	if len(subject) > maxReplySubject || !plainSubject(subject) || c.reserved(subject) {
		return false
	}
	for _, pattern := range c.ReceiptSubjects {
		if matches(pattern, subject) {
			return true
		}
	}
	return false
}

// reserved reports whether a subject belongs to NATS, to a bridge, or to this deployment's
// publishers.
func (c Config) reserved(subject string) bool {
	first, _, _ := strings.Cut(subject, ".")
	return strings.HasPrefix(first, "$") || first == ownPrefix || first == inboxPrefix || subject == c.SubjectPrefix || strings.HasPrefix(subject, c.SubjectPrefix+".")
}

// plainSubject reports whether one can publish to s: tokens joined by dots, no wildcards.
func plainSubject(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n\x00") {
			return false
		}
	}
	return true
}

// matches reports whether a subject is one of those that pattern, which may have the wildcards of
// NATS, stands for.
func matches(pattern, subject string) bool {
	for {
		want, patternRest, morePattern := strings.Cut(pattern, ".")
		got, subjectRest, moreSubject := strings.Cut(subject, ".")
		switch {
		case want == ">":
			return true
		case want != "*" && want != got, morePattern != moreSubject:
			return false
		case !morePattern:
			return true
		}
		pattern, subject = patternRest, subjectRest
	}
}

// validPattern accepts subjects with the wildcards of NATS that do not name what [Config.mayReceive]
// refuses anyway.
func (c Config) validPattern(s string) bool {
	if c.reserved(s) || len(s) > maxReplySubject {
		return false
	}
	plain, _ := strings.CutSuffix("."+s, ".>")
	for token := range strings.SplitSeq(strings.TrimPrefix(plain, "."), ".") {
		if token == "" && s != ">" || token != "*" && strings.ContainsAny(token, "*> \t\r\n\x00") {
			return false
		}
	}
	return true
}
