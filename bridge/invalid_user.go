package bridge

import "regexp"

// userField finds a user id in a body, which need not be valid JSON.
var userField = regexp.MustCompile(`"userId"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)`)

// FindUser reads the user id out of the body of an invalid message, so that an operator who looks
// for the user finds the dead letter. It returns an empty id when it finds none. No message is
// ever sent to this user because of it.
func FindUser(body []byte) UserID {
	const limit = 64 << 10 // bytes that are searched
	found := userField.FindSubmatch(body[:min(len(body), limit)])
	if found == nil {
		return ""
	}
	user, err := ParseUserID(found[1])
	if err != nil {
		return ""
	}
	return user
}
