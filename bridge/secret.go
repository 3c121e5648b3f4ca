package bridge

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a text that must not appear in a log, an error or a dump of the
// configuration: a password, a token, a key. However it is printed or encoded, it
// shows as [Mask], or as nothing when it is empty, so that one sees that it is not
// set. It must be in an exported field: package fmt shows others as they are.
type Secret string

// Mask is what a [Secret] shows of itself.
const Mask = "***"

// Reveal returns the text, for the call that needs it.
func (s Secret) Reveal() string { return string(s) }

// String masks the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return Mask
}

// Format masks the secret whatever the verb: even for a wrong one, which would
// otherwise be answered with the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// MarshalText masks the secret in JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue masks the secret in a log.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
