package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// TestFilesAreReadAgain: a key that is replaced is accepted and the old one is
// not, a file that is broken for a while changes nothing.
func TestFilesAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "current.pem")
	write := func(text []byte) {
		t.Helper()
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kid := map[string]any{"kid": "current"}
	old := sign(t, jwt.SigningMethodRS256, rsaKey, kid, claims(jwt.MapClaims{"exp": 99999999999}))
	next := sign(t, jwt.SigningMethodRS256, otherRSA, kid, claims(jwt.MapClaims{"exp": 99999999999}))
	write(public(t, &rsaKey.PublicKey))
	synctest.Test(t, func(t *testing.T) {
		v := open(t, Config{KeyFiles: []string{path}})
		go v.Run(t.Context())
		expect := func(when, oldCode, nextCode string) {
			t.Helper()
			time.Sleep(filesEvery + time.Second)
			synctest.Wait()
			if a, b := codeFor(t, v, old), codeFor(t, v, next); a != oldCode || b != nextCode {
				t.Errorf("%s: old %q, next %q, want %q, %q", when, a, b, oldCode, nextCode)
			}
		}
		expect("at first", "", CodeSignature)
		write(append(public(t, &rsaKey.PublicKey), public(t, &otherRSA.PublicKey)...))
		expect("both in one file", "", "")
		write([]byte("-----BEGIN PUBLIC KEY-----\nhalf a"))
		expect("half written", "", "")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		expect("gone", "", "")
		write(public(t, &otherRSA.PublicKey))
		expect("replaced", CodeSignature, "")
	})
}

func TestKeyFilesRefused(t *testing.T) {
	t.Parallel()
	small := must(rsa.GenerateKey(rand.Reader, 1024))
	for name, text := range map[string][]byte{
		"private key":  private(t, rsaKey),
		"small RSA":    public(t, &small.PublicKey),
		"short secret": []byte("secret"),
		"broken PEM":   []byte("-----BEGIN PUBLIC KEY-----\n" + secret + secret),
		"empty":        nil,
	} {
		path := filepath.Join(t.TempDir(), "k.pem")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openFiles([]string{path}, nil); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := openFiles([]string{"/nowhere.pem"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// issuer is a server of keys that can be changed while it runs. It lives behind
// its client's transport, so that tests with a bubble's clock can use it.
type issuer struct {
	mu     sync.Mutex
	answer func(w http.ResponseWriter)
	asked  atomic.Int64
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	i.asked.Add(1)
	i.mu.Lock()
	answer := i.answer
	i.mu.Unlock()
	answer(w)
}

// RoundTrip answers without a network.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	i.ServeHTTP(w, r)
	return w.Result(), nil
}

func (i *issuer) publish(t testing.TB, keys map[string]any) {
	t.Helper()
	set := jwkset.NewMemoryStorage()
	for id, key := range keys {
		k, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: id}, Marshal: jwkset.JWKMarshalOptions{Private: true}})
		if err != nil {
			t.Fatal(err)
		}
		if err := set.KeyWrite(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	text, err := set.JSONWithOptions(t.Context(), jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	i.set(http.StatusOK, string(text))
}

func (i *issuer) set(status int, body string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = func(w http.ResponseWriter) { w.WriteHeader(status); fmt.Fprint(w, body) }
}

// TestJWKS walks through the life of a key set: an issuer that is not there yet,
// rotation, an outage, mistakes, and a crowd with keys that nobody knows.
func TestJWKS(t *testing.T) {
	in := map[string]any{"exp": 99999999999}
	token := func(id string, key *rsa.PrivateKey) string {
		return sign(t, jwt.SigningMethodRS256, key, map[string]any{"kid": id}, claims(in))
	}
	first, second := token("1", rsaKey), token("2", otherRSA)
	var is issuer
	synctest.Test(t, func(t *testing.T) {
		is.set(http.StatusBadGateway, "")
		v := open(t, Config{JWKSURL: "https://id.example/jwks", JWKSRefresh: time.Minute})
		v.jwks.client.Transport = &is
		go v.Run(t.Context())
		synctest.Wait()
		expect := func(when, token, want string) {
			t.Helper()
			if got := codeFor(t, v, token); got != want {
				t.Errorf("%s: got %q, want %q", when, got, want)
			}
		}
		expect("no keys yet", first, CodeUnavailable)
		if v.Ready() == nil {
			t.Error("ready without keys")
		}
		is.publish(t, map[string]any{"1": rsaKey, "secret": []byte(secret)})
		expect("the issuer is back", first, "")
		if err := v.Ready(); err != nil {
			t.Error(err)
		}
		expect("a secret that a URL tells", sign(t, jwt.SigningMethodHS256, []byte(secret), map[string]any{"kid": "secret"}, claims(in)), CodeUnknownKey)
		is.publish(t, map[string]any{"1": &rsaKey.PublicKey, "2": &otherRSA.PublicKey})
		expect("a new key", second, "")
		expect("the old one beside it", first, "")

		for _, mistake := range []struct {
			status int
			body   string
		}{{500, ""}, {200, "{}"}, {200, `{"keys":[]}`}, {200, "<html>"}, {302, ""}, {200, strings.Repeat(" ", 2*jwksBytes)}, {200, `{"keys":[{"kty":"RSA","kid":"x","n":"AQ","e":"AQAB"}]}`}} {
			is.set(mistake.status, mistake.body)
			time.Sleep(time.Minute + time.Second)
			expect(fmt.Sprintf("outage: %d %.20s", mistake.status, mistake.body), first, "")
		}
		is.publish(t, map[string]any{"2": otherRSA})
		time.Sleep(time.Minute)
		expect("withdrawn", first, CodeUnknownKey)
		expect("the one that stays", second, "")

		// A crowd with unknown keys asks the issuer once in a while, not each of them.
		before, began := is.asked.Load(), time.Now()
		var crowd sync.WaitGroup
		for n := range 200 {
			crowd.Go(func() {
				expect("unknown", sign(t, jwt.SigningMethodHS256, []byte(secret), map[string]any{"kid": fmt.Sprint("k", n)}, claims(in)), CodeUnknownKey)
			})
		}
		crowd.Wait()
		if asked, most := is.asked.Load()-before, int64(time.Since(began)/jwksGap)+1; asked > most {
			t.Errorf("asked %d times in %v, want at most %d", asked, time.Since(began), most)
		}
	})
}

// TestJWKAlgorithm: a key that says what it is for is accepted for nothing else.
func TestJWKAlgorithm(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		alg  jwkset.ALG
		use  jwkset.USE
		code string
	}{{"", "", ""}, {jwkset.AlgRS256, jwkset.UseSig, ""}, {jwkset.AlgPS256, "", CodeAlgorithm}, {"", jwkset.UseEnc, CodeUnavailable}} {
		jwk := must(jwkset.NewJWKFromKey(&rsaKey.PublicKey, jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "1", ALG: tt.alg, USE: tt.use}}))
		body := must(json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}}))
		var is issuer
		is.set(http.StatusOK, string(body))
		synctest.Test(t, func(t *testing.T) {
			v := open(t, Config{JWKSURL: "https://id.example/jwks", JWKSRefresh: time.Hour})
			v.jwks.client.Transport = &is
			go v.Run(t.Context())
			got := codeFor(t, v, sign(t, jwt.SigningMethodRS256, rsaKey, map[string]any{"kid": "1"}, claims(map[string]any{"exp": 99999999999})))
			if got != tt.code {
				t.Errorf("alg %q, use %q: got %q, want %q", tt.alg, tt.use, got, tt.code)
			}
		})
	}
}
