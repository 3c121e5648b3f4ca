package subscriber

import (
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// mayReceive reports whether a receipt may go to a subject, which a publisher has chosen: an inbox,
// or a subject that nats.receipt_subjects allows. Subjects of NATS, of a bridge and of publishers
// are always refused.
func (c Config) mayReceive(subject string) bool {
	if isInbox(subject) {
		return true
	}
	if len(subject) > maxReplySubject || !plainSubject(subject) || c.reserved(subject) {
		return false
	}
	return slices.ContainsFunc(c.ReceiptSubjects, func(pattern string) bool { return server.SubjectMatchesFilter(subject, pattern) })
}

// reserved reports whether a subject belongs to NATS, to a bridge, or to this deployment's
// publishers.
func (c Config) reserved(subject string) bool {
	first, _, _ := strings.Cut(subject, ".")
	return strings.HasPrefix(first, "$") || first == ownPrefix || first == inboxPrefix || subject == c.SubjectPrefix || strings.HasPrefix(subject, c.SubjectPrefix+".")
}

// plainSubject reports whether s is tokens joined by dots, without wildcards.
func plainSubject(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || strings.ContainsAny(token, "*> \t\r\n\x00") {
			return false
		}
	}
	return true
}

// validPattern accepts subjects with the wildcards of NATS, but none that [Config.mayReceive] always
// refuses.
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
