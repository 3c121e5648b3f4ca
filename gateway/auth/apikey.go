package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"strings"
)

// APIKey is one caller's key, as the configuration has it: a name and the
// SHA-256 of the key. A plain hash will do, because the keys are random: there is
// nothing to guess that a slow one would protect.
type APIKey struct {
	Name string
	hash [sha256.Size]byte
}

// NewAPIKey makes a key, and its entry for the configuration.
func NewAPIKey(name string) (key, entry string) {
	key = "sbk_" + rand.Text()
	hash := sha256.Sum256([]byte(key))
	return key, name + ":" + hex.EncodeToString(hash[:])
}

// ParseAPIKey reads an entry, `name:sha256`, the hash in hexadecimal.
func ParseAPIKey(entry string) (APIKey, error) {
	name, text, ok := strings.Cut(entry, ":")
	hash, err := hex.DecodeString(text)
	if !ok || !ValidName(name) || err != nil || len(hash) != sha256.Size {
		return APIKey{}, errors.New("must be name:hash, the SHA-256 of the key in hexadecimal, as `socketbridge key NAME` prints it")
	}
	return APIKey{name, [sha256.Size]byte(hash)}, nil
}

// FindAPIKey names the key that was presented, "" when it is none of them. The time it takes
// tells nothing of the keys.
func FindAPIKey(keys []APIKey, presented string) (name string) {
	hash := sha256.Sum256([]byte(presented))
	for _, k := range keys {
		if subtle.ConstantTimeCompare(hash[:], k.hash[:]) == 1 {
			name = k.Name
		}
	}
	return name
}
