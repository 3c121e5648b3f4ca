package limit

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/internal/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRates(t *testing.T) {
	t.Parallel()
	r, now := NewRates[string](10, 20), time.Now()
	for n := range 20 {
		if _, ok := r.Allow("a", now); !ok {
			t.Fatalf("number %d of a burst of 20 is refused", n)
		}
	}
	if wait, ok := r.Allow("a", now); ok || wait < 90*time.Millisecond || wait > 110*time.Millisecond {
		t.Errorf("one too many: %v, %v; want a wait of 100 ms", wait, ok)
	}
	if wait, spent := r.Spent("a", now); !spent || wait < 90*time.Millisecond || wait > 110*time.Millisecond {
		t.Errorf("looked at only: %v, %v; want a wait of 100 ms", wait, spent)
	}
	if _, spent := r.Spent("b", now); spent || r.keys.Load() != 1 {
		t.Errorf("looking at a key that has done nothing: spent %v, %d keys", spent, r.keys.Load())
	}
	if _, ok := r.Allow("b", now); !ok {
		t.Error("another key pays for the first")
	}
	if _, ok := r.Allow("a", now.Add(100*time.Millisecond)); !ok {
		t.Error("refused after the wait")
	}
	free := NewRates[string](0, 0)
	_, ok := free.Allow("a", now)
	if _, spent := free.Spent("a", now); !ok || spent {
		t.Error("0 is a limit")
	}
}

// TestRatesAreBounded: no number of addresses fills the memory.
func TestRatesAreBounded(t *testing.T) {
	t.Parallel()
	r, now := NewRates[int](1, 1), time.Now()
	r.most = 100
	for key := range 10_000 {
		now = now.Add(100 * time.Millisecond) // ten new keys a second, of which nine have their burst again
		r.Allow(key, now)
	}
	n := 0
	r.table.Range(func(any, any) bool { n++; return true })
	if n != 100 || r.keys.Load() != 100 {
		t.Errorf("%d keys, counted as %d, want 100", n, r.keys.Load())
	}
}

func TestConcurrencyLimiter(t *testing.T) {
	t.Parallel()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	c := NewConcurrencyLimiter(2)
	for n, want := range []bool{true, true, false} {
		if got := c.Take(a); got != want {
			t.Errorf("number %d: %v, want %v", n, got, want)
		}
	}
	if !c.Take(b) {
		t.Error("another address is refused")
	}
	c.Release(a)
	if !c.Take(a) {
		t.Error("what was given back is not free")
	}
	for range 2 {
		c.Release(a)
	}
	c.Release(b)
	if c.Len() != 0 {
		t.Errorf("%d addresses are remembered for nothing", c.Len())
	}
}

func TestRefusalCounter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		counter := NewRefusalCounter(slog.New(slog.NewTextHandler(&out, nil)), metrics.Counters(nil, "refusals", "", "limit", "rate", "never"))
		from := netip.MustParseAddr("192.0.2.1")
		for range 5 {
			counter.Add("rate", from)
		}
		time.Sleep(10 * time.Second)
		counter.Add("rate", from)
		counter.Add("unknown", from)
		if diff := cmp.Diff(map[string]uint64{"rate": 6, "never": 0}, counter.Counts()); diff != "" {
			t.Error(diff)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || !strings.HasSuffix(lines[0], "limit=rate times=1 address=192.0.2.1") || !strings.Contains(lines[1], "times=5") {
			t.Errorf("log:\n%s", &out)
		}
	})
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	if _, limited := Shared(netip.Addr{}); limited {
		t.Error("a unix socket is limited")
	}
	for in, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"fe80::1%eth0":         "fe80::",
		"127.0.0.1":            "",
		"::ffff:127.9.9.9":     "",
		"::1":                  "",
	} {
		got, limited := Shared(netip.MustParseAddr(in))
		if limited != (want != "") || limited && got.String() != want {
			t.Errorf("%s counts as %v, %v, want %q", in, got, limited, want)
		}
	}
	if got := Peer(&http.Request{RemoteAddr: "[::ffff:192.0.2.1]:80"}); got.String() != "192.0.2.1" {
		t.Errorf("peer is %v", got)
	}
	if got := Peer(&http.Request{RemoteAddr: "@"}); got.IsValid() {
		t.Errorf("peer on a unix socket is %v", got)
	}
}
