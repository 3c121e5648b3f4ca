package bridge

// InvalidError means that a message breaks the rules and that retrying cannot
// help. Over HTTP it is a 400 with its code, on NATS it is the dead letter's reason.
type InvalidError struct {
	Code    string // one of the Code constants: stable, for programs
	Message string // for people; holds nothing of the message itself
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
	// CodeStoreRefused is the store's word, not the message's fault: see [ErrRefused].
	CodeStoreRefused = "STORE_REFUSED"
)

// missing is the text that the Node service gave for everything that is not an
// object with a user and a topic; callers match on it.
const missing = "Missing topic, payload or userId"

var (
	errMissing      = &InvalidError{CodeMissingFields, missing}
	errJSON         = &InvalidError{CodeInvalidJSON, missing}
	errNotObject    = &InvalidError{CodeNotAnObject, missing}
	errUTF8         = &InvalidError{CodeInvalidUTF8, "Body is not valid UTF-8"}
	errDepth        = &InvalidError{CodeTooDeep, "Arrays and objects nest deeper than 512"}
	errDuplicateKey = &InvalidError{CodeDuplicateKey, "A key stands twice at the top level"}
	errUserID       = &InvalidError{CodeInvalidUserID, "userId must be 1 to 128 printable characters, or a number"}
	errReserved     = &InvalidError{CodeInvalidUserID, "userId is one of the bridge's own"}
	errTopic        = &InvalidError{CodeInvalidTopic, "topic must be 1 to 128 characters: tokens of [A-Za-z0-9_:-] joined by dots, and not a reserved event name"}
	errStoreRefused = &InvalidError{CodeStoreRefused, "The store refuses messages of this user: another program has written its keys"}
	errMismatch     = &InvalidError{CodeTopicMismatch, "topic in the body does not agree with the subject"}
)
