package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/testutil/capture"
	"github.com/codewar/socketbridge/internal/testutil/wait"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var waitFor = wait.For

// testConfig is the default, at a test server.
func testConfig(s *natstest.Instance) Config {
	cfg := DefaultConfig()
	cfg.URL = s.URL()
	return cfg
}

// open opens a client that ends with the test.
func open(t testing.TB, cfg Config, node bridge.NodeID, log *slog.Logger) *Client {
	t.Helper()
	c, err := Open(t.Context(), cfg, node, log)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil && !errors.Is(err, nats.ErrConnectionClosed) { // closed by the test: see disconnected
			t.Errorf("Close: %v", err)
		}
	})
	return c
}

// disconnected ends a node's connection at once, as the end of its process would.
func disconnected(c *Client) { c.nc.Close() }

// ready is open, and waits for the streams.
func ready(t testing.TB, s *natstest.Instance, node bridge.NodeID) *Client {
	t.Helper()
	c := open(t, testConfig(s), node, discard)
	waitFor(t, "client ready", func() bool { return c.Ready() == nil })
	return c
}

var discard = slog.New(slog.DiscardHandler)

// logBook keeps log lines, for tests of what is said how often.
type logBook struct{ text capture.Text }

func (b *logBook) count(s string) int { return strings.Count(b.text.String(), s) }

func (b *logBook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&b.text, nil)) }

// publish stores n messages, trying each until it is stored.
func publish(t testing.TB, c *Client, first, n int) {
	t.Helper()
	for i := first; i < first+n; i++ {
		id := fmt.Sprintf("m%d", i)
		waitFor(t, "publish "+id, func() bool {
			_, err := c.Publish(t.Context(), Publication{Topic: "t", Body: []byte(id), ID: id})
			return err == nil
		})
	}
}

// taker is an intake handler that keeps what it was given, term by term.
type taker struct {
	route func(ctx context.Context) error // nil: at once

	mu    sync.Mutex // guards all below
	terms []takenTerm
	kept  int // messages that it only had to know of
}

type takenTerm struct {
	number uint64
	msgs   []bridge.Message
	ended  bool
}

func (k *taker) handler() IntakeHandler {
	return IntakeHandler{
		Keep: func(batch []bridge.Message) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.kept += len(batch)
		},
		Handed: func() (o bridge.Offset) {
			k.mu.Lock()
			defer k.mu.Unlock()
			if n := len(k.terms); n > 0 && len(k.terms[n-1].msgs) > 0 {
				o = k.terms[n-1].msgs[len(k.terms[n-1].msgs)-1].Offset
			}
			return o
		},
		Begin: func(term uint64) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.terms = append(k.terms, takenTerm{number: term})
		},
		Route: func(ctx context.Context, _ uint64, batch []bridge.Message) error {
			if k.route != nil {
				if err := k.route(ctx); err != nil {
					return err
				}
			}
			k.mu.Lock()
			t := &k.terms[len(k.terms)-1]
			t.msgs = append(t.msgs, batch...)
			k.mu.Unlock()
			return nil
		},
		End: func(uint64) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.terms[len(k.terms)-1].ended = true
		},
	}
}

// all is what was taken in every term.
func (k *taker) all() (msgs []bridge.Message) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.terms {
		msgs = append(msgs, t.msgs...)
	}
	return msgs
}

func (k *taker) count() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, t := range k.terms {
		n += len(t.msgs)
	}
	return n
}

// checkOrder fails unless offsets grow strictly within each term.
func (k *taker) checkOrder(t testing.TB) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, term := range k.terms {
		for i := 1; i < len(term.msgs); i++ {
			if before, now := term.msgs[i-1].Offset, term.msgs[i].Offset; !now.After(before) {
				t.Fatalf("term %d: %v handed after %v", term.number, now, before)
			}
		}
	}
}

// newIntake makes an intake with an index of its own.
func newIntake(c *Client, h IntakeHandler) *Intake {
	index := bridge.NewIndex(bridge.IndexConfig{TTL: time.Hour, MaxPerUser: 1000, MaxMemory: 1 << 26})
	return c.NewIntake(index, c.NewHistory(index), IntakeConfig{Window: time.Hour}, h)
}

// run runs an intake until the test ends or stop is called. stop drains.
func run(t testing.TB, c *Client, h IntakeHandler) (i *Intake, stop func()) {
	t.Helper()
	i = newIntake(c, h)
	done := make(chan error, 1)
	go func() { done <- i.Run(context.Background()) }()
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := i.Drain(ctx); err != nil {
			t.Errorf("Drain: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return i, stop
}
