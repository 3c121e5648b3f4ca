package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Signer makes tokens, for development and tests. Production has an issuer of its own.
type Signer struct {
	kid    string
	method jwt.SigningMethod
	key    any
}

// NewSigner reads the key to sign with from a file's name and content: a private
// key in PEM, or an HMAC secret.
func NewSigner(path string, text []byte) (*Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		keys, err := parseKeyFile(path, text)
		if err != nil {
			return nil, err
		}
		return secretSigner(keys[0]), nil
	}
	key, err := parsePrivate(block)
	if err != nil {
		return nil, err
	}
	s := &Signer{kid: fileID(path), key: key}
	switch k := key.(type) {
	case *rsa.PrivateKey:
		s.method = jwt.SigningMethodRS256
	case *ecdsa.PrivateKey:
		s.method = jwt.GetSigningMethod(curves[k.Curve.Params().Name])
	case ed25519.PrivateKey:
		s.method = jwt.SigningMethodEdDSA
	}
	if s.method == nil {
		return nil, fmt.Errorf("no algorithm for a key of type %T", key)
	}
	return s, nil
}

// NewSecretSigner signs with an entry of Config.Secrets.
func NewSecretSigner(entry string) (*Signer, error) {
	k, err := ParseSecret(entry)
	if err != nil {
		return nil, err
	}
	return secretSigner(k), nil
}

func secretSigner(k Key) *Signer { return &Signer{k.ID, jwt.SigningMethodHS256, k.value} }

func parsePrivate(block *pem.Block) (any, error) {
	switch block.Type {
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	default:
		return nil, errors.New("must be a private key, not encrypted, or a secret")
	}
}

// Sign makes a token for a user that cfg believes, if the key is one of its keys.
func (s *Signer) Sign(cfg Config, user string, ttl time.Duration, scopes []string) (string, error) {
	now := time.Now()
	claims := jwt.MapClaims{cfg.UserClaim: user, "iat": now.Unix(), "exp": now.Add(ttl).Unix()}
	if cfg.Issuer != "" {
		claims["iss"] = cfg.Issuer
	}
	if len(cfg.Audience) > 0 {
		claims["aud"] = cfg.Audience[0]
	}
	if len(scopes) > 0 {
		claims["scope"] = strings.Join(scopes, " ")
	}
	t := jwt.NewWithClaims(s.method, claims)
	t.Header["kid"] = s.kid
	return t.SignedString(s.key)
}
