package app_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/codewar/socketbridge/gateway/siotest"
)

// rotatingIssuer publishes its newest two keys and signs with the newest.
type rotatingIssuer struct {
	mu   sync.Mutex
	keys []ed25519.PrivateKey // all there ever were; the kid is the index
}

func (i *rotatingIssuer) rotate(t testing.TB) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, key)
}

func (i *rotatingIssuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var set jwkset.JWKSMarshal
	for n := max(0, len(i.keys)-2); n < len(i.keys); n++ {
		jwk, err := jwkset.NewJWKFromKey(i.keys[n].Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: fmt.Sprint(n)}})
		if err != nil {
			panic(err)
		}
		set.Keys = append(set.Keys, jwk.Marshal())
	}
	_ = json.NewEncoder(w).Encode(set)
}

// token signs with a key by its age: 0 is the newest.
func (i *rotatingIssuer) token(t testing.TB, user string, age int, ttl time.Duration) string {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	n := len(i.keys) - 1 - age
	return token(t, jwt.SigningMethodEdDSA, i.keys[n], fmt.Sprint(n), jwt.MapClaims{"sub": user, "exp": time.Now().Add(ttl).Unix()})
}

// TestRotationUnderLoad: keys rotate and tokens expire while messages flow. Pages
// that renew their tokens miss nothing and are never dropped; new pages with the
// newest key are let in at once; those with a withdrawn or forged one never are.
func TestRotationUnderLoad(t *testing.T) {
	issuer := new(rotatingIssuer)
	issuer.rotate(t)
	keys := httptest.NewServer(issuer)
	defer keys.Close()
	p := startAuthProgram(t, "--set", "auth.jwks_url="+keys.URL, "--set", "auth.warn_before=4s", "--set", "log.level=info", "--set", "canary.interval=0s",
		"--set", "http.payloads_per_second=0") // the publisher is as fast as the machine
	node := siotest.Start(t)

	const pages, steps, ttl = 8, 3, 8 * time.Second
	stock := make([]*siotest.Client, pages)
	for n := range stock {
		stock[n] = node.Dial(p.URL, options(transports[n%2], issuer.token(t, user(n), 0, ttl)))
		stock[n].Connected()
		stock[n].EventNamed("bridge:offset") // registered: from now on it can be sent to
	}
	stop := make(chan struct{})
	sent := make([]int, pages) // by user: what was answered with 200, so owed
	var publisher sync.WaitGroup
	publisher.Go(func() {
		for n := 0; ; n = (n + 1) % pages {
			select {
			case <-stop:
				return
			default:
			}
			status, _, m := p.send(t, map[string]string{"X-API-Key": p.apiKey}, fmt.Sprintf(`{"userId":%q,"topic":"t","n":%d}`, user(n), sent[n]))
			if status != http.StatusOK || m["sockets"] != 1.0 {
				t.Errorf("message %d for page %d: %d %v", sent[n], n, status, m)
				continue
			}
			sent[n]++
		}
	})
	for step := range steps {
		issuer.rotate(t)
		fresh := node.Dial(p.URL, options(transports[step%2], issuer.token(t, "fresh", 0, ttl)))
		fresh.Connected()
		before := node.Dial(p.URL, options(transports[step%2], issuer.token(t, "fresh", 1, ttl)))
		before.Connected() // published still: that is what the overlap is for
		if step > 0 {
			withdrawn := node.Dial(p.URL, options(transports[step%2], issuer.token(t, "thief", 2, ttl)))
			if m := withdrawn.Refusal(); m.Code != "TOKEN_UNKNOWN_KEY" {
				t.Errorf("step %d: a withdrawn key: %+v", step, m)
			}
		}
		_, forger, _ := ed25519.GenerateKey(nil)
		forged := token(t, jwt.SigningMethodEdDSA, forger, fmt.Sprint(step+1), jwt.MapClaims{"sub": "thief"})
		if m := node.Dial(p.URL, options(transports[step%2], forged)).Refusal(); m.Code != "TOKEN_SIGNATURE" {
			t.Errorf("step %d: a forged token: %+v", step, m)
		}
		for n, c := range stock {
			c.EventNamed("auth:expiring")
			if ack := c.EmitWithAck("refreshToken", issuer.token(t, user(n), 0, ttl)); !slices.Contains(ackKeys(t, ack), "expires") {
				t.Errorf("step %d, page %d: %s", step, n, ack)
			}
		}
		fresh.Disconnect()
		before.Disconnect()
	}
	close(stop)
	publisher.Wait()
	for n, c := range stock {
		c.Wait("all its messages", func(all []siotest.Message) string {
			got := 0
			for _, m := range all {
				switch {
				case m.Type == "disconnect":
					t.Fatalf("page %d was dropped: %s", n, m.Reason)
				case m.Name == "t":
					if want := fmt.Sprintf(`{"n":%d}`, got); string(m.Args[0]) != want {
						t.Fatalf("page %d got %s, want %s", n, m.Args[0], want)
					}
					got++
				}
			}
			if got != sent[n] {
				return fmt.Sprintf("has %d of %d", got, sent[n])
			}
			return ""
		})
	}
	total := 0
	for _, n := range sent {
		total += n
	}
	t.Logf("%d messages, %d rotations", total, steps)
	p.metric(t, "bridge_auth_expired_total 0")
	p.metric(t, fmt.Sprintf(`bridge_auth_total{kind="refresh",result="ok"} %d`, pages*steps))
	p.metric(t, `bridge_intake_in_flight 0`)
	p.metric(t, `bridge_ledger_breaches_total 0`)
	p.metric(t, fmt.Sprintf(`bridge_intake_outcomes_total{outcome="pushed"} %d`, total))
}

func user(n int) string { return fmt.Sprint("user_", n) }

// ackKeys are the names in the object that an acknowledgement carries.
func ackKeys(t testing.TB, ack []json.RawMessage) (names []string) {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(ack[0], &m); err != nil {
		t.Fatal(err)
	}
	for k := range m {
		names = append(names, k)
	}
	return names
}
