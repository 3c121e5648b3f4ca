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
	"github.com/codewar/socketbridge/internal/capture"
	"github.com/codewar/socketbridge/internal/wait"
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

// checkpoints is the store's part of leading, shared by the nodes of a test.
type checkpoints struct {
	mu   sync.Mutex // guards all below
	term uint64
	read bridge.Offset
}

func (s *checkpoints) Claim(_ context.Context, term uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term < s.term {
		return bridge.ErrNotLeader
	}
	s.term = term
	return nil
}

func (s *checkpoints) Checkpoint(context.Context) (uint64, bridge.Offset, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term, s.read, nil
}

func (s *checkpoints) SaveCheckpoint(_ context.Context, term uint64, o bridge.Offset) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if term != s.term {
		return bridge.ErrNotLeader
	}
	s.read = s.read.Max(o)
	return nil
}

func (s *checkpoints) save(o bridge.Offset) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = s.read.Max(o)
}

// lose is a store that comes back empty.
func (s *checkpoints) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term, s.read = 0, bridge.Offset{}
}

// cutOff is the same store, which this node reaches only while err returns nil.
type cutOff struct {
	*checkpoints
	err func() error
}

func (s *cutOff) Claim(ctx context.Context, term uint64) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.checkpoints.Claim(ctx, term)
}

func (s *cutOff) Checkpoint(ctx context.Context) (uint64, bridge.Offset, error) {
	if err := s.err(); err != nil {
		return 0, bridge.Offset{}, err
	}
	return s.checkpoints.Checkpoint(ctx)
}

func (s *cutOff) SaveCheckpoint(ctx context.Context, term uint64, o bridge.Offset) error {
	if err := s.err(); err != nil {
		return err
	}
	return s.checkpoints.SaveCheckpoint(ctx, term, o)
}

// taker is an intake handler that keeps what it was given, term by term.
type taker struct {
	store *checkpoints
	route func(ctx context.Context) error // nil: at once

	mu    sync.Mutex // guards all below
	terms []takenTerm
}

type takenTerm struct {
	number uint64
	msgs   []bridge.Message
	ended  bool
}

func (k *taker) handler() IntakeHandler {
	return IntakeHandler{
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
			k.store.save(batch[len(batch)-1].Offset)
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

// run runs an intake until the test ends or stop is called. stop drains.
func run(t testing.TB, c *Client, l Checkpoints, h IntakeHandler) (i *Intake, stop func()) {
	t.Helper()
	i = c.NewIntake(l, time.Hour, h)
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
