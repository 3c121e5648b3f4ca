package bridge

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"
)

// Cursor is how far a socket of a user has received. Its text form, the token that a
// client keeps and presents when it comes back, is `<offset>.<tag>`. Clients must not
// interpret it.
//
// The tag tells the tokens of different users apart: a client that logs in as another
// user on the same socket object still presents the token of the user before. It is no
// secret and no proof: a client can write any token.
type Cursor struct {
	Offset Offset
	Tag    string // see [UserTag]; empty: a plain offset, which does not say whose it is
}

// tagSeparator cannot occur in an offset.
const tagSeparator = "."

// tagBytes is how much of the digest a tag has: 8 characters of base64url.
const tagBytes = 6

// UserTag is the tag of a user's cursors: the same on every node and in every version.
func UserTag(user UserID) string {
	sum := sha256.Sum256([]byte("socketbridge cursor of user\x00" + string(user)))
	return base64.RawURLEncoding.EncodeToString(sum[:tagBytes])
}

// ParseCursor reads a token or a plain offset. It fails with [ErrOffset].
func ParseCursor(text string) (Cursor, error) {
	at, tag, tagged := strings.Cut(text, tagSeparator)
	if tagged && len(tag) != base64.RawURLEncoding.EncodedLen(tagBytes) {
		return Cursor{}, ErrOffset
	}
	offset, err := ParseOffset(at)
	if err != nil {
		return Cursor{}, err
	}
	return Cursor{offset, tag}, nil
}

// String is the text form.
func (c Cursor) String() string {
	b := c.Offset.Append(make([]byte, 0, 40))
	if c.Tag != "" {
		b = append(append(b, tagSeparator...), c.Tag...)
	}
	return string(b)
}

// MarshalText writes the form that [ParseCursor] reads.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what [ParseCursor] reads.
func (c *Cursor) UnmarshalText(b []byte) (err error) {
	*c, err = ParseCursor(string(b))
	return err
}
