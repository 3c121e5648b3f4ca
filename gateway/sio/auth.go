package sio

import (
	"encoding/json"
	"fmt"
)

// Auth holds the members of a client's `auth` that the bridge uses. Each is zero when the member
// is missing or of another type. Other members are checked but not decoded.
type Auth struct {
	Token   string // says who the client is
	PID     string // private id of the session that the client wants back
	Offset  string // last offset that the client has received
	Resume  *bool  // whether the client wants offsets; nil: not stated
	Session string // id of the client's own choice
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

// decodeAuth decodes the data of a CONNECT packet. No data is an empty object. It returns an
// error for data that is no JSON object, and a refusal for data that exceeds a bound.
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

// wish decodes true or false, also as strings: the Java client's auth is a Map<String, String>.
func wish(member json.RawMessage) (value, said bool) {
	if len(member) > len(`"\u0066\u0061\u006c\u0073\u0065"`) {
		return false, false // too long for either
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
