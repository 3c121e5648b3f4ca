package auth

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
)

// TestVerify is the table of accepted and refused tokens, over keys of every kind.
func TestVerify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var paths []string
	for name, key := range map[string]any{"rsa": &rsaKey.PublicKey, "p256": &p256Key.PublicKey, "p384": &p384Key.PublicKey, "ed": edKey.Public()} {
		path := filepath.Join(dir, name+".pem")
		if err := os.WriteFile(path, public(t, key), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	v := open(t, Config{
		Secrets: []string{"hmac:" + secret, "next:" + strings.Repeat("n", 64)}, KeyFiles: paths,
		Issuer: "https://id.example", Audience: []string{"bridge", "other"}, Leeway: 10 * time.Second,
	})
	kid := func(id any) map[string]any { return map[string]any{"kid": id} }
	hs := func(c jwt.MapClaims) string {
		return sign(t, jwt.SigningMethodHS256, []byte(secret), kid("hmac"), claims(c))
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	rs := func(m jwt.SigningMethod, key any, id string) string { return sign(t, m, key, kid(id), claims(nil)) }
	good := hs(nil)
	head, rest, _ := strings.Cut(good, ".")
	for name, tt := range map[string]struct{ token, code string }{
		"HS256":                             {good, ""},
		"HS384":                             {rs(jwt.SigningMethodHS384, []byte(secret), "hmac"), ""},
		"HS512, the next key":               {rs(jwt.SigningMethodHS512, []byte(strings.Repeat("n", 64)), "next"), ""},
		"RS256":                             {rs(jwt.SigningMethodRS256, rsaKey, "rsa"), ""},
		"RS512":                             {rs(jwt.SigningMethodRS512, rsaKey, "rsa"), ""},
		"PS384":                             {rs(jwt.SigningMethodPS384, rsaKey, "rsa"), ""},
		"ES256":                             {rs(jwt.SigningMethodES256, p256Key, "p256"), ""},
		"ES384":                             {rs(jwt.SigningMethodES384, p384Key, "p384"), ""},
		"EdDSA":                             {rs(jwt.SigningMethodEdDSA, edKey, "ed"), ""},
		"no kid":                            {sign(t, jwt.SigningMethodEdDSA, edKey, nil, claims(nil)), ""},
		"one of several audiences":          {hs(jwt.MapClaims{"aud": []string{"x", "other"}}), ""},
		"expired within the leeway":         {hs(jwt.MapClaims{"exp": in(-5 * time.Second)}), ""},
		"user is a number":                  {hs(jwt.MapClaims{"sub": 42}), ""},
		"nothing":                           {"", CodeMissing},
		"noise":                             {"a.b.c", CodeMalformed},
		"two parts":                         {head, CodeMalformed},
		"too long":                          {good + strings.Repeat("A", maxToken), CodeMalformed},
		"crit":                              {sign(t, jwt.SigningMethodHS256, []byte(secret), map[string]any{"kid": "hmac", "crit": []string{"x"}}, claims(nil)), CodeMalformed},
		"kid is no text":                    {sign(t, jwt.SigningMethodHS256, []byte(secret), kid(1), claims(nil)), CodeMalformed},
		"none":                              {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid("hmac"), claims(nil)), CodeAlgorithm},
		"none without kid":                  {sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, claims(nil)), CodeAlgorithm},
		"None, no signature":                {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"None","kid":"hmac"}`)) + "." + strings.Split(rest, ".")[0] + ".", CodeAlgorithm},
		"HS256 with the RSA public key":     {sign(t, jwt.SigningMethodHS256, public(t, &rsaKey.PublicKey), kid("rsa"), claims(nil)), CodeAlgorithm},
		"the same without kid":              {sign(t, jwt.SigningMethodHS256, public(t, &rsaKey.PublicKey), nil, claims(nil)), CodeSignature},
		"RS256 with an HMAC kid":            {rs(jwt.SigningMethodRS256, rsaKey, "hmac"), CodeAlgorithm},
		"ES256 with a P-384 kid":            {rs(jwt.SigningMethodES256, p256Key, "p384"), CodeAlgorithm},
		"unknown kid":                       {rs(jwt.SigningMethodRS256, rsaKey, "nobody"), CodeUnknownKey},
		"another RSA key":                   {rs(jwt.SigningMethodRS256, otherRSA, "rsa"), CodeSignature},
		"another secret of ours":            {rs(jwt.SigningMethodHS256, []byte(secret), "next"), CodeSignature},
		"changed":                           {head + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"admin","exp":9999999999}`)) + "." + strings.Split(good, ".")[2], CodeSignature},
		"expired":                           {hs(jwt.MapClaims{"exp": in(-time.Minute)}), CodeExpired},
		"never expires":                     {hs(jwt.MapClaims{"exp": nil}), CodeClaimMissing},
		"exp is beyond all time":            {hs(jwt.MapClaims{"exp": 1e300}), CodeMalformed},
		"exp is beyond the year 9999":       {hs(jwt.MapClaims{"exp": lastDate + 1}), CodeMalformed},
		"exp is the end of the year 9999":   {hs(jwt.MapClaims{"exp": lastDate}), ""},
		"exp is before 1970":                {hs(jwt.MapClaims{"exp": -1e300}), CodeMalformed},
		"nbf is beyond all time":            {hs(jwt.MapClaims{"nbf": 1e300}), CodeMalformed},
		"nbf is before 1970":                {hs(jwt.MapClaims{"nbf": -1}), CodeMalformed},
		"nbf is a text":                     {hs(jwt.MapClaims{"nbf": "0"}), CodeMalformed},
		"nbf has a fraction":                {hs(jwt.MapClaims{"nbf": 1.5}), ""},
		"iat is beyond all time":            {hs(jwt.MapClaims{"iat": 1e300}), CodeMalformed},
		"iat is a list":                     {hs(jwt.MapClaims{"iat": []int{1}}), CodeMalformed},
		"exp is a text":                     {hs(jwt.MapClaims{"exp": "soon"}), CodeMalformed},
		"not yet valid":                     {hs(jwt.MapClaims{"nbf": in(time.Minute)}), CodeNotYetValid},
		"other issuer":                      {hs(jwt.MapClaims{"iss": "https://id.example.evil"}), CodeIssuer},
		"no issuer":                         {hs(jwt.MapClaims{"iss": nil}), CodeClaimMissing},
		"other audience":                    {hs(jwt.MapClaims{"aud": "api"}), CodeAudience},
		"no audience":                       {hs(jwt.MapClaims{"aud": nil}), CodeClaimMissing},
		"no user":                           {hs(jwt.MapClaims{"sub": nil}), CodeUser},
		"empty user":                        {hs(jwt.MapClaims{"sub": ""}), CodeUser},
		"user with a line end":              {hs(jwt.MapClaims{"sub": "a\nb"}), CodeUser},
		"user is an object":                 {hs(jwt.MapClaims{"sub": map[string]any{"a": 1}}), CodeUser},
		"signed over other spelling (pad)=": {good + "=", CodeMalformed},
	} {
		if got := codeFor(t, v, tt.token); got != tt.code {
			t.Errorf("%s: got %q, want %q", name, got, tt.code)
		}
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	v := open(t, Config{Secrets: []string{"k:" + secret}, UserClaim: "uid", Leeway: time.Minute})
	exp := time.Now().Add(time.Hour).Truncate(time.Second)
	c, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodHS256, []byte(secret), map[string]any{"kid": "k"},
		jwt.MapClaims{"uid": "u", "sub": "not this", "exp": exp.Unix(), "scope": "a b", "scp": []string{"c"}}))
	if err != nil {
		t.Fatal(err)
	}
	user, err := c.User()
	if user != "u" || err != nil || c.KeyID != "k" || !c.Expires.Equal(exp.Add(time.Minute)) {
		t.Errorf("got %q %v %+v", user, err, c)
	}
	if d := cmp.Diff([]string{"a", "b", "c"}, c.Scopes); d != "" {
		t.Error(d)
	}
}

// TestSigner: what the command makes is accepted, whatever the key.
func TestSigner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, tt := range map[string]struct{ private, public []byte }{
		"rsa":    {private(t, rsaKey), public(t, &rsaKey.PublicKey)},
		"p384":   {private(t, p384Key), public(t, &p384Key.PublicKey)},
		"ed":     {private(t, edKey), public(t, edKey.Public())},
		"secret": {[]byte(secret + "\n"), []byte(secret)},
	} {
		path := filepath.Join(dir, name+".pem")
		if err := os.WriteFile(path, tt.public, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := Config{KeyFiles: []string{path}, Issuer: "i", Audience: []string{"a"}, UserClaim: "uid"}
		s, err := NewSigner(path, tt.private)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		token, err := s.Sign(cfg, "user_123", time.Minute, []string{"payload:send"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c, err := open(t, cfg).Verify(t.Context(), token)
		if user, _ := c.User(); err != nil || user != "user_123" || len(c.Scopes) != 1 {
			t.Errorf("%s: %v %+v", name, err, c)
		}
	}
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	one, oneEntry := NewAPIKey("one")
	two, twoEntry := NewAPIKey("two")
	keys := []APIKey{must(ParseAPIKey(oneEntry)), must(ParseAPIKey(twoEntry))}
	hash := strings.TrimPrefix(oneEntry, "one:")
	for presented, want := range map[string]string{one: "one", two: "two", "": "", one + "x": "", strings.ToLower(one): "", hash: "", oneEntry: ""} {
		if got := FindAPIKey(keys, presented); got != want {
			t.Errorf("%q is %q, want %q", presented, got, want)
		}
	}
	if one == two || strings.Contains(oneEntry, one) || LooksLikeToken(one) {
		t.Errorf("%q %q", one, oneEntry)
	}
	for _, entry := range []string{"", "one", "one:", "one:" + one, ":" + hash, "o ne:" + hash, "one:" + hash[2:], "one:" + hash + "00"} {
		if _, err := ParseAPIKey(entry); err == nil {
			t.Errorf("entry %q is accepted", entry)
		}
	}
}
