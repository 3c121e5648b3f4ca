package auth

import (
	"errors"

	"github.com/golang-jwt/jwt/v5"
)

// Codes of [RefusedError]: stable, for programs, and the labels of a metric.
const (
	CodeMissing      = "TOKEN_MISSING"
	CodeMalformed    = "TOKEN_MALFORMED"
	CodeAlgorithm    = "TOKEN_ALGORITHM" // also "none", and one that is not for this kind of key
	CodeUnknownKey   = "TOKEN_UNKNOWN_KEY"
	CodeSignature    = "TOKEN_SIGNATURE"
	CodeExpired      = "TOKEN_EXPIRED"
	CodeNotYetValid  = "TOKEN_NOT_YET_VALID"
	CodeIssuer       = "TOKEN_ISSUER"
	CodeAudience     = "TOKEN_AUDIENCE"
	CodeClaimMissing = "TOKEN_CLAIM_MISSING"
	CodeUser         = "TOKEN_USER"
	CodeUnavailable  = "AUTH_UNAVAILABLE" // the keys could not be fetched: try again
)

// messages are for people. They tell an attacker nothing that the code does not.
var messages = map[string]string{
	CodeMissing:      "A token is required",
	CodeMalformed:    "The token cannot be read",
	CodeAlgorithm:    "The token's algorithm is not that of its key",
	CodeUnknownKey:   "The token names a key that is not known",
	CodeSignature:    "The token's signature is wrong",
	CodeExpired:      "The token has expired",
	CodeNotYetValid:  "The token is not valid yet",
	CodeIssuer:       "The token is of another issuer",
	CodeAudience:     "The token is for another audience",
	CodeClaimMissing: "The token lacks a claim: exp is required, and iss and aud where they are checked",
	CodeUser:         "The token names no user: 1 to 128 printable characters, or a number",
	CodeUnavailable:  "Tokens cannot be checked now, try again",
}

// Codes lists every code.
func Codes() []string {
	out := make([]string, 0, len(messages))
	for code := range messages {
		out = append(out, code)
	}
	return out
}

// RefusedError means that a token is not believed. It holds nothing of the token
// but the name of the key.
type RefusedError struct {
	Code    string
	Message string
	KeyID   string // what the token says; not checked, so not to be trusted
}

func (e *RefusedError) Error() string { return e.Message }

// Refusal is the [*RefusedError] in an error, nil for none. An error of another
// kind is a refusal too, so that no caller is accepted by mistake.
func Refusal(err error) *RefusedError {
	if r, ok := errors.AsType[*RefusedError](err); ok || err == nil {
		return r
	}
	return refused(CodeMalformed, "")
}

func refused(code, kid string) *RefusedError {
	const most = 64 // bytes of it in a log
	return &RefusedError{code, messages[code], kid[:min(len(kid), most)]}
}

// What the search for a key can end in.
var (
	errMalformed   = errors.New("malformed")
	errAlgorithm   = errors.New("algorithm does not fit")
	errUnknownKey  = errors.New("unknown key")
	errUnavailable = errors.New("keys not available")
)

// codeOf names the first thing that is wrong, in the order that they are checked.
func codeOf(err error) string {
	for _, c := range []struct {
		is   error
		code string
	}{
		{errMalformed, CodeMalformed},
		{errAlgorithm, CodeAlgorithm},
		{errUnknownKey, CodeUnknownKey},
		{errUnavailable, CodeUnavailable},
		{jwt.ErrTokenUnverifiable, CodeAlgorithm}, // an unknown one
		{jwt.ErrTokenSignatureInvalid, CodeSignature},
		{jwt.ErrTokenRequiredClaimMissing, CodeClaimMissing},
		{jwt.ErrTokenExpired, CodeExpired},
		{jwt.ErrTokenNotValidYet, CodeNotYetValid},
		{jwt.ErrTokenInvalidIssuer, CodeIssuer},
		{jwt.ErrTokenInvalidAudience, CodeAudience},
	} {
		if errors.Is(err, c.is) {
			return c.code
		}
	}
	return CodeMalformed
}
