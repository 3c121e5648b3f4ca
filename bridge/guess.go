package bridge

import "regexp"

// guessed is where a user id stands in a body, valid JSON or not.
var guessed = regexp.MustCompile(`"userId"\s*:\s*("(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*)`)

// GuessUser reads the user out of a message that breaks the rules, as well as it
// can, so that an operator who looks for the user finds it. It is empty when there
// is none that could be one. Nothing is ever sent to a user who was guessed.
func GuessUser(body []byte) UserID {
	const most = 64 << 10 // bytes that are looked at
	found := guessed.FindSubmatch(body[:min(len(body), most)])
	if found == nil {
		return ""
	}
	user, err := ParseUserID(found[1])
	if err != nil {
		return ""
	}
	return user
}
