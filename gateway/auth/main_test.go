package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var secret = strings.Repeat("s", 32)

// claims are good ones, changed as said; nil removes.
func claims(changed jwt.MapClaims) jwt.MapClaims {
	c := jwt.MapClaims{"sub": "user_123", "exp": time.Now().Add(time.Hour).Unix(), "iss": "https://id.example", "aud": "bridge"}
	maps.Copy(c, changed)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

func sign(t testing.TB, method jwt.SigningMethod, key any, header map[string]any, c jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(method, c)
	maps.Copy(token.Header, header)
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func public(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func private(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Made once: a key takes a moment.
var (
	rsaKey   = must(rsa.GenerateKey(rand.Reader, 2048))
	otherRSA = must(rsa.GenerateKey(rand.Reader, 2048))
	p256Key  = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p384Key  = must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	edKey    = func() ed25519.PrivateKey { _, k, err := ed25519.GenerateKey(rand.Reader); return must(k, err) }()
)

func open(t testing.TB, cfg Config) *Verifier {
	t.Helper()
	if cfg.UserClaim == "" {
		cfg.UserClaim = "sub"
	}
	v, err := Open(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// codeFor is what comes of a token: the code of its refusal, or "".
func codeFor(t testing.TB, v *Verifier, token string) string {
	t.Helper()
	c, err := v.Verify(t.Context(), token)
	if err == nil {
		_, err = c.User()
	}
	if r := Refusal(err); r != nil {
		return r.Code
	}
	return ""
}
