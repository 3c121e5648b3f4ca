package store

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store/redistest"
)

// A message that is of no use to an absent user costs one round trip, as any other,
// while the user is there, and is not appended once it was found that nobody is.
func TestPresentUsersAreNotLookedUpFirst(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	r, err := OpenRedis(t.Context(), Config{Addrs: []string{server.Addr}, Timeout: 10 * time.Second}, Limits{}, "a", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	trips := &roundTrips{}
	r.client.AddHook(trips)
	ctx := t.Context()
	if _, err := r.Beat(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Lead(ctx); err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	send := func() (bridge.Appended, []string) {
		t.Helper()
		seq++
		e := bridge.Envelope{User: "u", Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: 1, Seq: seq}}
		trips.first = nil
		found, err := r.Append(ctx, []bridge.Entry{{Envelope: &e, OnlyIfPresent: true}})
		if err != nil {
			t.Fatal(err)
		}
		return found[0], trips.first
	}
	reg := bridge.Registration{User: "u", Socket: "s", Token: "t", Limit: 1}
	if _, err := r.Register(ctx, reg); err != nil {
		t.Fatal(err)
	}
	send() // by the script: the user's history is not known yet
	for range 3 {
		if found, by := send(); len(found.Sockets) != 1 || !slices.Equal(by, []string{"xadd"}) {
			t.Fatalf("%+v by %q; want its socket, appended at once", found, by)
		}
	}
	if err := r.Unregister(ctx, reg, bridge.Offset{}); err != nil {
		t.Fatal(err)
	}
	if found, by := send(); found.Absent || len(found.Sockets) != 0 || !slices.Equal(by, []string{"xadd"}) {
		t.Fatalf("%+v by %q; want it appended for nobody", found, by)
	}
	if gone, err := r.Withdraw(ctx, "u", bridge.Offset{Epoch: 1, Seq: seq}); !gone || err != nil {
		t.Fatalf("withdrawn %t, %v", gone, err)
	}
	for range 2 {
		if found, by := send(); !found.Absent || !slices.Equal(by, []string{"hgetall"}) {
			t.Fatalf("%+v by %q; want absent by the look-up alone", found, by)
		}
	}
	if _, err := r.Register(ctx, reg); err != nil {
		t.Fatal(err)
	}
	if found, by := send(); len(found.Sockets) != 1 || !slices.Equal(by, []string{"hgetall", "xadd"}) {
		t.Errorf("%+v by %q; want its socket, after a look-up", found, by)
	}
}

// roundTrips notes the first command of each.
type roundTrips struct{ first []string }

func (*roundTrips) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*roundTrips) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *roundTrips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.first = append(h.first, cmds[0].Name())
		return next(ctx, cmds)
	}
}
