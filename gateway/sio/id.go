package sio

import (
	"crypto/rand"
	"encoding/base64"
)

// newSecretID returns a session id or private id. To know one is to be its client: it has 144
// random bits, in 24 characters.
func newSecretID() string { return randomID(18) }

// newSocketID returns a socket id, which others may know: 120 random bits in the 20 characters
// that Socket.IO's own have.
func newSocketID() string { return randomID(15) }

// randomID returns n random bytes as base64 for URLs.
func randomID(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
