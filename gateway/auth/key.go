package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Smallest keys that are taken.
const (
	minSecret = 32   // bytes: what HS256 puts out (RFC 7518, section 3.2)
	minRSA    = 2048 // bits
)

// Key is one key that tokens may be signed with.
type Key struct {
	// ID is the `kid` by which tokens name it, and logs too.
	ID string

	alg   string // the only algorithm it is for; empty: each that its kind allows
	value any    // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

// newKey checks that value is a key of a kind and size that is safe to believe.
func newKey(id string, value any) (Key, error) {
	switch v := value.(type) {
	case []byte:
		if len(v) < minSecret {
			return Key{}, fmt.Errorf("must be %d bytes or more, not %d", minSecret, len(v))
		}
	case *rsa.PublicKey:
		if v.N.BitLen() < minRSA {
			return Key{}, fmt.Errorf("must have %d bits or more, not %d", minRSA, v.N.BitLen())
		}
	case *ecdsa.PublicKey:
		if curves[v.Curve.Params().Name] == "" {
			return Key{}, fmt.Errorf("must be on the curve P-256, P-384 or P-521, not %s", v.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return Key{}, fmt.Errorf("must be a secret or an RSA, ECDSA or Ed25519 key, not %T", value)
	}
	return Key{ID: id, value: value}, nil
}

var (
	curves     = map[string]string{"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
	hmacAlgs   = []string{"HS256", "HS384", "HS512"}
	rsaAlgs    = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	ed25519Alg = "EdDSA"
)

// fits reports whether a token may say that it is signed with this key by alg.
// The key's kind decides, never the token: a public RSA key is no HMAC secret, and
// nothing fits "none".
func (k Key) fits(alg string) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	switch v := k.value.(type) {
	case []byte:
		return slices.Contains(hmacAlgs, alg)
	case *rsa.PublicKey:
		return slices.Contains(rsaAlgs, alg)
	case *ecdsa.PublicKey:
		return curves[v.Curve.Params().Name] == alg
	case ed25519.PublicKey:
		return alg == ed25519Alg
	default:
		return false
	}
}

// named returns the keys with that id, all of them for none.
func named(keys []Key, id string) []Key {
	if id == "" {
		return keys
	}
	var out []Key
	for _, k := range keys {
		if k.ID == id {
			out = append(out, k)
		}
	}
	return out
}

// ids names keys in logs.
func ids(keys []Key) string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.ID
	}
	return strings.Join(names, ",")
}

// ParseSecret reads an HMAC secret from its entry in the configuration,
// `kid:secret`. The error does not show the secret.
func ParseSecret(entry string) (Key, error) {
	id, secret, ok := strings.Cut(entry, ":")
	if !ok || !ValidName(id) {
		return Key{}, errors.New("must be kid:secret, the kid of A-Z, a-z, 0-9, ., _ and -")
	}
	return newKey(id, []byte(secret))
}

// ValidName reports whether s can name a key: 1 to 64 characters of
// [A-Za-z0-9._-], safe in entries, logs and metrics.
func ValidName(s string) bool {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
	return s != "" && len(s) <= 64 && strings.Trim(s, allowed) == ""
}

// fileID is the kid of the keys in a file: its name without the extension.
func fileID(path string) string {
	return strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
}

// parseKeyFile reads a file's keys: public keys and certificates in PEM, or else
// one HMAC secret, without the line end.
func parseKeyFile(path string, text []byte) ([]Key, error) {
	id := fileID(path)
	if !bytes.Contains(text, []byte("-----BEGIN ")) {
		k, err := newKey(id, bytes.TrimSpace(text))
		return []Key{k}, err
	}
	var keys []Key
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		public, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		k, err := newKey(id, public)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("must be PEM, and cannot be read as such")
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (any, error) {
	switch {
	case block.Type == "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case block.Type == "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case block.Type == "CERTIFICATE":
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return c.PublicKey, nil
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return nil, errors.New("must be the public key: whoever holds the private one can be anybody")
	default:
		return nil, fmt.Errorf("must be a public key or a certificate, not %s", block.Type)
	}
}

func readKeyFile(path string) (text []byte, keys []Key, err error) {
	if text, err = os.ReadFile(path); err != nil {
		return nil, nil, err
	}
	if keys, err = parseKeyFile(path, text); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return text, keys, nil
}
