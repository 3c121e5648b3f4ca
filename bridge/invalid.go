package bridge

// InvalidError means that a message breaks the rules and that retrying cannot
// help. Over HTTP it is a 400 with its code, on NATS it is the dead letter's reason.
type InvalidError struct {
	Code    string // one of the Code constants: stable, for programs
	Message string // for people; holds nothing of the message itself

	Field    string // the member or option that is wrong; empty: the text as a whole
	Expected string // what should have been there; may be empty
	// Position is the byte of the text, counted from 0, at which it stops being valid.
	// It counts only where Positioned is true.
	Position   int
	Positioned bool
}

// at returns the error with the place in the text and what was expected there.
func (e *InvalidError) at(position int, expected string) *InvalidError {
	found := *e
	found.Position, found.Positioned = position, true
	if expected != "" {
		found.Expected = expected
	}
	return &found
}

func (e *InvalidError) Error() string { return e.Message }

// The codes of [InvalidError].
const (
	CodeMissingFields = "MISSING_FIELDS"
	CodeInvalidJSON   = "INVALID_JSON"
	CodeNotAnObject   = "NOT_AN_OBJECT"
	CodeInvalidUTF8   = "INVALID_UTF8"
	CodeTooDeep       = "TOO_DEEP"
	CodeDuplicateKey  = "DUPLICATE_KEY"
	CodeInvalidUserID = "INVALID_USER_ID"
	CodeInvalidTopic  = "INVALID_TOPIC"
	CodeTopicMismatch = "TOPIC_MISMATCH"
	CodeInvalidOption = "INVALID_OPTION"
)

// missing is the text that the Node service gave for everything that is not an
// object with a user and a topic; callers match on it.
const missing = "Missing topic, payload or userId"

// What the values of the address and of the topic must be.
const (
	userIDRule = "1 to 128 printable characters, or a number"
	topicRule  = "1 to 128 characters: tokens of [A-Za-z0-9_:-] joined by dots, and not a reserved event name"
)

var (
	errNoUser       = &InvalidError{Code: CodeMissingFields, Message: missing, Field: "userId", Expected: userIDRule}
	errNoTopic      = &InvalidError{Code: CodeMissingFields, Message: missing, Field: "topic", Expected: topicRule}
	errJSON         = &InvalidError{Code: CodeInvalidJSON, Message: missing}
	errNotObject    = &InvalidError{Code: CodeNotAnObject, Message: missing, Expected: "an object"}
	errUTF8         = &InvalidError{Code: CodeInvalidUTF8, Message: "Body is not valid UTF-8"}
	errDepth        = &InvalidError{Code: CodeTooDeep, Message: "Arrays and objects nest deeper than 512"}
	errDuplicateKey = &InvalidError{Code: CodeDuplicateKey, Message: "A key stands twice at the top level"}
	errUserID       = &InvalidError{Code: CodeInvalidUserID, Message: "userId must be " + userIDRule, Field: "userId", Expected: userIDRule}
	errReserved     = &InvalidError{Code: CodeInvalidUserID, Message: "userId is one of the bridge's own", Field: "userId"}
	errTopic        = &InvalidError{Code: CodeInvalidTopic, Message: "topic must be " + topicRule, Field: "topic", Expected: topicRule}
	errMismatch     = &InvalidError{Code: CodeTopicMismatch, Message: "topic in the body does not agree with the subject", Field: "topic"}
)

// InvalidOption is the error of an option whose value is unknown.
func InvalidOption(name, expected string) *InvalidError {
	return &InvalidError{Code: CodeInvalidOption, Message: name + " must be " + expected, Field: name, Expected: expected}
}
