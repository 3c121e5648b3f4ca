package app_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/codewar/socketbridge/gateway/auth"
	"github.com/codewar/socketbridge/gateway/siotest"
	"github.com/codewar/socketbridge/internal/cli"
	"github.com/codewar/socketbridge/internal/testutil/capture"
	"github.com/codewar/socketbridge/internal/testutil/launch"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// hmacSecret is the one that the tests' programs believe, under the kid "main".
var hmacSecret = strings.Repeat("s", 32)

// authProgram runs the program with mode jwt, an HMAC secret, an RSA key "rsa" and
// an API key of "judge".
type authProgram struct {
	*program
	rsa    *rsa.PrivateKey
	public []byte // PEM
	apiKey string
}

func startAuthProgram(t *testing.T, args ...string) *authProgram {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	p := &authProgram{rsa: key, public: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}
	path := filepath.Join(t.TempDir(), "rsa.pem")
	if err := os.WriteFile(path, p.public, 0o600); err != nil {
		t.Fatal(err)
	}
	var entry string
	p.apiKey, entry = auth.NewAPIKey("judge")
	p.program = startProgram(t, append([]string{
		"--set", "auth.mode=jwt", "--set", "auth.secrets=main:" + hmacSecret, "--set", "auth.key_files=" + path,
		"--set", "auth.issuer=https://id.example", "--set", "auth.audience=bridge", "--set", "auth.leeway=0s",
		"--set", "auth.api_keys=" + entry, "--set", "node.env=production",
		"--set", "origins=https://codewar.example", "--set", "auth.cookie=session", "--set", "log.level=debug",
		"--set", "ops.addr=" + launch.FreeAddr(t),
	}, args...)...)
	t.Cleanup(func() {
		p.Stop()
		<-p.Status
		if s := p.Stderr.String(); strings.Contains(s, "eyJ") || strings.Contains(s, p.apiKey) || strings.Contains(s, hmacSecret) {
			t.Errorf("a secret is in the log:\n%s", s)
		}
	})
	return p
}

// token signs good claims, changed as said; nil removes. With no method it is HS256.
func token(t testing.TB, method jwt.SigningMethod, key any, kid string, changed jwt.MapClaims) string {
	t.Helper()
	c := jwt.MapClaims{"sub": "user_123", "exp": time.Now().Add(time.Hour).Unix(), "iss": "https://id.example", "aud": "bridge"}
	maps.Copy(c, changed)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	tok := jwt.NewWithClaims(method, c)
	tok.Header["kid"] = kid
	s, err := tok.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hmacToken(t testing.TB, changed jwt.MapClaims) string {
	t.Helper()
	return token(t, jwt.SigningMethodHS256, []byte(hmacSecret), "main", changed)
}

// send calls /sendPayload and returns the status and the answer.
func (p *program) send(t testing.TB, header map[string]string, body string) (int, http.Header, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/sendPayload", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for k, v := range header {
		r.Header.Set(k, v)
	}
	res, err := launch.Client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var m map[string]any
	if err := json.NewDecoder(res.Body).Decode(&m); err != nil {
		t.Errorf("status %d: %v", res.StatusCode, err)
	}
	return res.StatusCode, res.Header, m
}

// transports are the two ways to connect, each of which has to refuse by itself.
var transports = []string{"polling", "websocket"}

func options(transport, token string) siotest.Options {
	o := siotest.Options{Transports: []string{transport}, Reconnection: new(bool)}
	if token != "" {
		o.Auth = map[string]any{"token": token}
	}
	return o
}

// TestNotBelieved is the negative matrix: everything that is wrong with a page
// is refused with its own code, on both transports, and nothing of it is mapped.
func TestNotBelieved(t *testing.T) {
	p := startAuthProgram(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	node := siotest.Start(t)
	for name, tt := range map[string]struct{ token, code string }{
		"no token":                      {"", "TOKEN_MISSING"},
		"not a token":                   {"hello", "TOKEN_MALFORMED"},
		"none":                          {token(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "main", nil), "TOKEN_ALGORITHM"},
		"wrong algorithm":               {token(t, jwt.SigningMethodRS256, p.rsa, "main", nil), "TOKEN_ALGORITHM"},
		"HS256 with the RSA public key": {token(t, jwt.SigningMethodHS256, p.public, "rsa", nil), "TOKEN_ALGORITHM"},
		"unknown kid":                   {token(t, jwt.SigningMethodRS256, p.rsa, "old", nil), "TOKEN_UNKNOWN_KEY"},
		"another's key":                 {token(t, jwt.SigningMethodRS256, other, "rsa", nil), "TOKEN_SIGNATURE"},
		"expired":                       {hmacToken(t, jwt.MapClaims{"exp": in(-time.Second)}), "TOKEN_EXPIRED"},
		"not yet valid":                 {hmacToken(t, jwt.MapClaims{"nbf": in(time.Minute)}), "TOKEN_NOT_YET_VALID"},
		"other issuer":                  {hmacToken(t, jwt.MapClaims{"iss": "https://evil.example"}), "TOKEN_ISSUER"},
		"other audience":                {hmacToken(t, jwt.MapClaims{"aud": "api"}), "TOKEN_AUDIENCE"},
		"never expires":                 {hmacToken(t, jwt.MapClaims{"exp": nil}), "TOKEN_CLAIM_MISSING"},
		"no user":                       {hmacToken(t, jwt.MapClaims{"sub": "\n"}), "TOKEN_USER"},
	} {
		for _, transport := range transports {
			c := node.Dial(p.URL, options(transport, tt.token))
			if m := c.Refusal(); m.Code != tt.code || m.Reason == "" {
				t.Errorf("%s, %s: got %q (%s), want %s", name, transport, m.Code, m.Reason, tt.code)
			}
		}
	}
	for _, transport := range transports {
		// A page of another site, with the cookie that its visitor's browser adds.
		o := options(transport, "")
		o.ExtraHeaders = map[string]string{"Origin": "https://evil.example", "Cookie": "session=" + hmacToken(t, nil)}
		if m := node.Dial(p.URL, o).Refusal(); m.Status != http.StatusForbidden {
			t.Errorf("foreign origin, %s: got status %d, %q", transport, m.Status, m.Reason)
		}
	}
	// No page was let in: the user is nowhere.
	if status, _, m := p.send(t, map[string]string{"X-API-Key": p.apiKey}, `{"userId":"user_123","topic":"t"}`); status != http.StatusNotFound {
		t.Errorf("somebody is mapped: %d %v", status, m)
	}
	p.metric(t, `bridge_auth_total{kind="connect",result="TOKEN_ALGORITHM"} 6`)
	p.metric(t, `bridge_auth_total{kind="connect",result="ok"} 0`)
	p.metric(t, `bridge_gateway_drops_total{reason="refused"} 26`)
	p.metric(t, `bridge_gateway_panics_total 0`)
	p.metric(t, `bridge_gateway_connections{transport="polling"} 0`)
}

// metric waits until /metrics has the line.
func (p *program) metric(t testing.TB, line string) {
	t.Helper()
	name, _, _ := strings.Cut(line, "{")
	wait.Until(t, "/metrics has "+line, func() string {
		_, text := (&program{&launch.Program{URL: p.OpsURL}}).Get("/metrics")
		if strings.Contains(text, line+"\n") {
			return ""
		}
		return "there is\n" + strings.Join(grep(text, name), "\n")
	})
}

func grep(text, what string) (out []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, what) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// TestBelieved: a token maps its page, wherever it is presented; the page can
// speak of itself and of nobody else.
func TestBelieved(t *testing.T) {
	p := startAuthProgram(t)
	node := siotest.Start(t)
	key := map[string]string{"Authorization": "Bearer " + p.apiKey}
	good := hmacToken(t, nil)
	for _, transport := range transports {
		for where, o := range map[string]siotest.Options{
			"auth":   options(transport, token(t, jwt.SigningMethodRS256, p.rsa, "rsa", nil)),
			"header": {ExtraHeaders: map[string]string{"Authorization": "Bearer " + good}},
			"cookie": {ExtraHeaders: map[string]string{"Cookie": "a=b; session=" + good, "Origin": "https://codewar.example"}},
		} {
			o.Transports = []string{transport}
			c := node.Dial(p.URL, o)
			id := c.Connected().ID
			// An old page that still says who it is, is told that all is well.
			if ack := c.EmitWithAck("setUserId", "user_123"); !bytes.Contains(ack[0], []byte(`"ok":true`)) {
				t.Errorf("%s, %s: own user: %s", where, transport, ack)
			}
			if ack := c.EmitWithAck("getConnectionId", "user_123"); string(ack[0]) != `"`+id+`"` {
				t.Errorf("%s, %s: own socket: %s, want %s", where, transport, ack, id)
			}
			for _, event := range []string{"setUserId", "getConnectionId"} {
				if ack := c.EmitWithAck(event, "victim"); !bytes.Contains(ack[0], []byte(`"code":"FORBIDDEN_USER"`)) {
					t.Errorf("%s, %s: %s of another user: %s", where, transport, event, ack)
				}
				c.Emit(event, "victim")
				if m := c.EventNamed("error"); !strings.Contains(m.Raw, "FORBIDDEN_USER") {
					t.Errorf("%s, %s: %s of another user: %s", where, transport, event, m.Raw)
				}
			}
			if status, _, m := p.send(t, key, `{"userId":"user_123","topic":"t","n":1}`); status != http.StatusOK || m["sockets"] != 1.0 {
				t.Errorf("%s, %s: %d %v", where, transport, status, m)
			}
			c.EventNamed("t")
			if status, _, _ := p.send(t, key, `{"userId":"victim","topic":"t"}`); status != http.StatusNotFound {
				t.Errorf("%s, %s: the victim is mapped: %d", where, transport, status)
			}
			c.Disconnect()
			c.Disconnected()
			p.metric(t, "bridge_gateway_sockets 0")
		}
	}
	p.metric(t, `bridge_api_key_calls_total{key="judge"} 12`)
}

// TestSessionOfAnother: a private id does not make up for a token: the session
// of another user is not given back.
func TestSessionOfAnother(t *testing.T) {
	p := startAuthProgram(t)
	node := siotest.Start(t)
	key := map[string]string{"X-API-Key": p.apiKey}
	victim := node.Dial(p.URL, options("websocket", hmacToken(t, nil)))
	connected := victim.Connected()
	id := connected.ID
	var offset string
	if err := json.Unmarshal(victim.EventNamed("bridge:offset").Args[1], &offset); err != nil {
		t.Fatal(err)
	}
	stolen := map[string]any{"token": hmacToken(t, jwt.MapClaims{"sub": "thief"}), "pid": connected.PID, "offset": offset}
	thief := node.Dial(p.URL, siotest.Options{Auth: stolen, Transports: []string{"websocket"}})
	if m := thief.Connected(); m.Recovered || m.ID == id {
		t.Errorf("the thief has the victim's socket: %+v", m)
	}
	if status, _, m := p.send(t, key, `{"userId":"user_123","topic":"t"}`); status != http.StatusOK || m["sockets"] != 1.0 {
		t.Errorf("victim: %d %v", status, m)
	}
	victim.EventNamed("t")
	// Its own token and session are enough.
	stolen["token"] = hmacToken(t, nil)
	back := node.Dial(p.URL, siotest.Options{Auth: stolen, Transports: []string{"websocket"}})
	if m := back.Connected(); m.ID != id { // that it is recovered only the client that was there before can tell
		t.Errorf("the victim is not recognised: %+v", m)
	}
	if ack := back.EmitWithAck("setUserId", "thief"); !bytes.Contains(ack[0], []byte("FORBIDDEN_USER")) {
		t.Errorf("recovered, and free to be anybody: %s", ack)
	}
	for _, m := range thief.Pending() {
		if m.Name == "t" {
			t.Errorf("the thief got %s", m.Raw)
		}
	}
}

// TestExpiry: a page is warned, stays when it renews its token, and is closed
// when it does not; then it is refused, for its token is still the old one.
func TestExpiry(t *testing.T) {
	p := startAuthProgram(t, "--set", "auth.warn_before=1s")
	node := siotest.Start(t)
	soon := func(d time.Duration) jwt.MapClaims { return jwt.MapClaims{"exp": time.Now().Add(d).Unix()} }
	for _, transport := range transports {
		o := options(transport, hmacToken(t, soon(4*time.Second)))
		o.Reconnection = nil
		stays, leaves := node.Dial(p.URL, o), node.Dial(p.URL, o)
		stays.Connected()
		leaves.Connected()
		stays.EventNamed("auth:expiring")
		for name, tt := range map[string]struct {
			token any
			code  string
		}{
			"another user": {hmacToken(t, jwt.MapClaims{"sub": "other"}), "FORBIDDEN_USER"},
			"expired":      {hmacToken(t, soon(-time.Minute)), "TOKEN_EXPIRED"},
			"no text":      {1, "TOKEN_MISSING"},
		} {
			if ack := stays.EmitWithAck("refreshToken", tt.token); !bytes.Contains(ack[0], []byte(tt.code)) {
				t.Errorf("%s, %s: %s, want %s", transport, name, ack, tt.code)
			}
		}
		ack := stays.EmitWithAck("refreshToken", hmacToken(t, nil))
		if !bytes.Contains(ack[0], []byte(`"ok":true`)) || !bytes.Contains(ack[0], []byte(`"expires":"20`)) {
			t.Errorf("%s: renewed: %s", transport, ack)
		}
		leaves.EventNamed("auth:expiring")
		if m := leaves.EventNamed("error"); !strings.Contains(m.Raw, `"type":"TOKEN_EXPIRED"`) {
			t.Errorf("%s: got %s", transport, m.Raw)
		}
		if m := leaves.Disconnected(); m.Reason != "transport close" {
			t.Errorf("%s: disconnected for %q", transport, m.Reason)
		}
		if m := leaves.Refusal(); m.Code != "TOKEN_EXPIRED" {
			t.Errorf("%s: came back and got %+v", transport, m)
		}
		if ack := stays.EmitWithAck("setUserId", "user_123"); !bytes.Contains(ack[0], []byte(`"ok":true`)) {
			t.Errorf("%s: the one that renewed: %s", transport, ack)
		}
	}
	p.metric(t, "bridge_auth_expired_total 2")
}

// TestCallers: who may send over HTTP.
func TestCallers(t *testing.T) {
	p := startAuthProgram(t)
	scoped := func(scope any) string { return hmacToken(t, jwt.MapClaims{"sub": nil, "scope": scope}) }
	for name, tt := range map[string]struct {
		header    map[string]string
		status    int
		code      string
		challenge string
	}{
		"key":                 {map[string]string{"X-API-Key": p.apiKey}, 404, "USER_NOT_FOUND", ""},
		"key as bearer":       {map[string]string{"Authorization": "bearer " + p.apiKey}, 404, "USER_NOT_FOUND", ""},
		"token with scope":    {map[string]string{"Authorization": "Bearer " + scoped("a payload:send")}, 404, "USER_NOT_FOUND", ""},
		"nothing":             {nil, 401, "UNAUTHORIZED", `Bearer realm="socketbridge"`},
		"basic":               {map[string]string{"Authorization": "Basic " + p.apiKey}, 401, "UNAUTHORIZED", `Bearer realm="socketbridge"`},
		"wrong key":           {map[string]string{"X-API-Key": p.apiKey + "x"}, 401, "INVALID_API_KEY", `error="invalid_token"`},
		"wrong key as bearer": {map[string]string{"Authorization": "Bearer sbk_X"}, 401, "INVALID_API_KEY", `error="invalid_token"`},
		"a page's token":      {map[string]string{"Authorization": "Bearer " + scoped(nil)}, 403, "FORBIDDEN_SCOPE", `error="insufficient_scope"`},
		"another scope":       {map[string]string{"Authorization": "Bearer " + scoped("payload:sender")}, 403, "FORBIDDEN_SCOPE", `error="insufficient_scope"`},
		"expired":             {map[string]string{"Authorization": "Bearer " + hmacToken(t, jwt.MapClaims{"exp": 1, "scope": "payload:send"})}, 401, "TOKEN_EXPIRED", `error="invalid_token"`},
		"cookie":              {map[string]string{"Cookie": "session=" + scoped("payload:send")}, 401, "UNAUTHORIZED", `Bearer realm="socketbridge"`},
	} {
		status, h, m := p.send(t, tt.header, `{"userId":"nobody","topic":"t"}`)
		if status != tt.status || m["code"] != tt.code || !strings.Contains(h.Get("WWW-Authenticate"), tt.challenge) {
			t.Errorf("%s: %d %v %q, want %d %s", name, status, m["code"], h.Get("WWW-Authenticate"), tt.status, tt.code)
		}
	}
	p.metric(t, `bridge_auth_total{kind="publish",result="INVALID_API_KEY"} 2`)
	p.metric(t, `bridge_api_key_calls_total{key="judge"} 2`)
}

// TestOperators: who may look inside, from where.
func TestOperators(t *testing.T) {
	key, entry := auth.NewAPIKey("prometheus")
	ask := func(p *program, header ...string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL+"/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Forwarded-For", "192.0.2.1") // not from this machine
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := launch.Client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	p := startProgram(t)
	if here, _ := p.Get("/metrics"); here != 200 || ask(p) != 404 || ask(p, "X-API-Key", key) != 404 {
		t.Errorf("without keys: here %d, elsewhere %d, with a key %d", here, ask(p), ask(p, "X-API-Key", key))
	}
	p.Stop()
	<-p.Status
	p = startProgram(t, "--set", "ops.keys="+entry)
	if here, _ := p.Get("/metrics"); here != 401 || ask(p) != 401 || ask(p, "X-API-Key", "x") != 401 || ask(p, "Authorization", "Bearer "+key) != 200 {
		t.Error("with keys: want 401 here and elsewhere, 200 with the key")
	}
	p.Stop()
	<-p.Status
	ops := launch.FreeAddr(t)
	p = startProgram(t, "--set", "ops.addr="+ops)
	if ask(p, "X-API-Key", key) != 404 {
		t.Error("/metrics is on http.addr beside ops.addr")
	}
	if status, _ := p.Get("/livez"); status != 200 {
		t.Errorf("/livez on http.addr: %d", status)
	}
	own := program{&launch.Program{URL: "http://" + ops}}
	if status := ask(&own); status != 200 {
		t.Errorf("/metrics on ops.addr: %d", status)
	}
	if status, _ := own.Get("/readyz"); status != 200 {
		t.Errorf("/readyz on ops.addr: %d", status)
	}
	p.Stop()
	<-p.Status
}

// TestModeNone: nothing changes for old pages, except that production wants it said.
func TestModeNone(t *testing.T) {
	p := startProgram(t)
	c := siotest.Dial(t, p.URL, options("websocket", "rubbish"))
	if ack := c.EmitWithAck("setUserId", "anyone"); !bytes.Contains(ack[0], []byte(`"ok":true`)) {
		t.Errorf("setUserId: %s", ack)
	}
	if status, _, _ := p.send(t, nil, `{"userId":"anyone","topic":"t"}`); status != http.StatusOK {
		t.Errorf("/sendPayload without a key: %d", status)
	}
	if !strings.Contains(p.Stderr.String(), "level=WARN") || !strings.Contains(p.Stderr.String(), "auth.mode is none") {
		t.Errorf("no warning:\n%s", p.Stderr)
	}
	p.Stop()
	<-p.Status
	var stderr capture.Text
	if code := cli.Run(t.Context(), []string{"--set", "node.env=production"}, io.Discard, &stderr); code != exitUsage || !strings.Contains(stderr.String(), "auth.mode") || !strings.Contains(stderr.String(), "origins") {
		t.Errorf("in production: %d %s", code, &stderr)
	}
}

// TestTokenCommands: what the commands print is what the program takes.
func TestTokenCommands(t *testing.T) {
	p := startAuthProgram(t)
	var out, keyOut capture.Text
	args := []string{"token", "--user", "user_123", "--scope", "payload:send", "--set", "auth.secrets=main:" + hmacSecret, "--set", "auth.issuer=https://id.example", "--set", "auth.audience=bridge"}
	if code := cli.Run(t.Context(), args, &out, io.Discard); code != exitStopped {
		t.Fatalf("token: exit status %d", code)
	}
	made := strings.TrimSpace(out.String())
	siotest.Dial(t, p.URL, options("websocket", made))
	if status, _, m := p.send(t, map[string]string{"Authorization": "Bearer " + made}, `{"userId":"user_123","topic":"t"}`); status != http.StatusOK {
		t.Errorf("%d %v", status, m)
	}
	if code := cli.Run(t.Context(), []string{"key", "judge"}, &keyOut, io.Discard); code != exitStopped {
		t.Fatalf("key: exit status %d", code)
	}
	fields := strings.Fields(keyOut.String()) // key: … entry: …
	k, err := auth.ParseAPIKey(fields[3])
	if err != nil || auth.FindAPIKey([]auth.APIKey{k}, fields[1]) != "judge" {
		t.Errorf("%q: %v", fields, err)
	}
	for _, args := range [][]string{{"token"}, {"token", "--user", "u"}, {"token", "--user", "u", "--ttl", "0s"}, {"key"}, {"key", "a b"}} {
		if code := cli.Run(t.Context(), args, io.Discard, io.Discard); code != exitUsage {
			t.Errorf("%q: exit status %d", args, code)
		}
	}
}
