package sio

import (
	"encoding/base64"
	"math/bits"
	"testing"
)

// TestIDs: every bit of an id is random, so that none can be guessed from others.
func TestIDs(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		make  func() string
		chars int
		bits  int // at least
	}{
		"session and private id": {newSecretID, 24, 128},
		"socket id":              {newSocketID, 20, 120},
	} {
		const ids = 200
		var both, none []byte // bits that were ever 1, and ever 0
		for range ids {
			id := tc.make()
			b, err := base64.RawURLEncoding.DecodeString(id)
			if err != nil || len(id) != tc.chars {
				t.Fatalf("%s: %q, %v", name, id, err)
			}
			if both == nil {
				both, none = make([]byte, len(b)), make([]byte, len(b))
			}
			for i := range b {
				both[i] |= b[i]
				none[i] |= ^b[i]
			}
		}
		random := 0
		for i := range both {
			random += bits.OnesCount8(both[i] & none[i])
		}
		if random < tc.bits {
			t.Errorf("%s: %d bits change, want %d", name, random, tc.bits)
		}
	}
}
