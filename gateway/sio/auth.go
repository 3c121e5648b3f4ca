package sio

import (
	"encoding/json"
	"fmt"
)

// Auth is the part of a client's `auth` that the server keeps: the members that the bridge
// knows. Each is its zero value when the member is missing or of another type. The rest of
// `auth` is checked and not decoded.
type Auth struct {
	Token   string // says who the client is
	PID     string // private id of the session that the client wants back
	Offset  string // last offset that the client has received
	Resume  *bool  // whether the client wants offsets; nil when it does not say
	Session string // id that the client has chosen for itself
	Trace   bool   // whether the client wants trace contexts
}

// size is how many bytes the members take.
func (a Auth) size() int { return len(a.Token) + len(a.PID) + len(a.Offset) + len(a.Session) }

const (
	// maxAuthMembers is how many members `auth` may have.
	maxAuthMembers = 64
	// maxAuthDepth is how deep `auth` may be nested.
	maxAuthDepth = 16
	// codeConnectTooLarge is the code of a CONNECT_ERROR for each bound of CONNECT.
	codeConnectTooLarge = "CONNECT_TOO_LARGE"
)

// decodeAuth decodes the data of a CONNECT packet; none stands for an empty object. An
// error means that it is not a JSON object. A refusal means that it exceeds a bound.
func decodeAuth(b []byte) (a Auth, refusal *Refusal, err error) {
	if len(b) == 0 {
		return a, nil, nil
	}
	if !json.Valid(b) {
		return a, nil, errPacket
	}
	switch deepest, members := nesting(b); {
	case deepest > maxAuthDepth:
		return a, tooLargeConnect("auth of CONNECT is nested more than %d levels deep", maxAuthDepth), nil
	case members > maxAuthMembers:
		return a, tooLargeConnect("auth of CONNECT has more than %d members", maxAuthMembers), nil
	}
	var members map[string]json.RawMessage // a struct would also take members of other capitalisation
	if json.Unmarshal(b, &members) != nil || members == nil {
		return a, nil, errPacket
	}
	for name, to := range map[string]*string{"token": &a.Token, "pid": &a.PID, "offset": &a.Offset, "session": &a.Session} {
		_ = json.Unmarshal(members[name], to) // missing, or of another type: the zero value
	}
	trace, _ := wish(members["trace"])
	a.Trace = trace
	if resume, said := wish(members["resume"]); said {
		a.Resume = &resume
	}
	return a, nil, nil
}

// wish reads true or false. It takes them as texts as well: the Java client's auth is a
// Map<String, String>.
func wish(member json.RawMessage) (value, said bool) {
	if len(member) > len(`"\u0066\u0061\u006c\u0073\u0065"`) {
		return false, false // whatever it is, it is not decoded
	}
	var v any
	_ = json.Unmarshal(member, &v) // missing: nil
	switch v {
	case true, "true":
		return true, true
	case false, "false":
		return false, true
	}
	return false, false
}

func tooLargeConnect(format string, bound any) *Refusal {
	return &Refusal{Message: fmt.Sprintf(format, bound), Code: codeConnectTooLarge}
}
