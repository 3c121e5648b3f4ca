package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// A message that is of no use to an absent user costs one round trip, as any other,
// while the user is there, and is not appended once it was found that nobody is.
func TestPresentUsersAreNotLookedUpFirst(t *testing.T) {
	t.Parallel()
	server, r := openInside(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = client.Close() })
	counted := &commands{client: client}
	ctx := t.Context()
	if _, err := r.Beat(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Claim(ctx, 1); err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	send := func() (found bridge.Appended, asked [2]int) {
		t.Helper()
		seq++
		e := bridge.Envelope{User: "u", Topic: "t", Payload: []byte("{}"), Offset: bridge.Offset{Epoch: 1, Seq: seq}}
		counted.since(t)
		all, err := r.Append(ctx, []bridge.Entry{{Envelope: &e, OnlyIfPresent: true}})
		if err != nil {
			t.Fatal(err)
		}
		return all[0], counted.since(t)
	}
	reg := bridge.Registration{User: "u", Socket: "s", Token: "t", Limit: 1}
	if _, err := r.Register(ctx, reg); err != nil {
		t.Fatal(err)
	}
	send() // by the script: the user's history is not known yet
	for range 3 {
		if found, by := send(); len(found.Sockets) != 1 || by != [2]int{1, 1} {
			t.Fatalf("%+v, appends and look-ups: %v; want its socket, appended and looked up at once", found, by)
		}
	}
	if err := r.Unregister(ctx, reg, bridge.Delivered{}); err != nil {
		t.Fatal(err)
	}
	if found, by := send(); found.Absent || len(found.Sockets) != 0 || by != [2]int{1, 1} {
		t.Fatalf("%+v, appends and look-ups: %v; want it appended for nobody", found, by)
	}
	if gone, err := r.Withdraw(ctx, "u", bridge.Offset{Epoch: 1, Seq: seq}); !gone || err != nil {
		t.Fatalf("withdrawn %t, %v", gone, err)
	}
	for range 2 {
		if found, by := send(); !found.Absent || by != [2]int{0, 1} {
			t.Fatalf("%+v, appends and look-ups: %v; want absent by the look-up alone", found, by)
		}
	}
	if _, err := r.Register(ctx, reg); err != nil {
		t.Fatal(err)
	}
	if found, by := send(); len(found.Sockets) != 1 || by != [2]int{1, 2} {
		t.Errorf("%+v, appends and look-ups: %v; want its socket, after a look-up", found, by)
	}
}

// commands tells how often Redis was asked to append, and who is there, since it was called last.
type commands struct {
	client        *redis.Client
	appends, asks int
}

func (c *commands) since(t *testing.T) [2]int {
	t.Helper()
	text, err := c.client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	count := func(name string) (n int) {
		if _, rest, found := strings.Cut(text, "cmdstat_"+name+":calls="); found {
			_, _ = fmt.Sscan(rest[:strings.IndexByte(rest, ',')], &n) // zero, and so noticed, when it is no number
		}
		return n
	}
	appends, asks := count("xadd"), count("hgetall")
	defer func() { c.appends, c.asks = appends, asks }()
	return [2]int{appends - c.appends, asks - c.asks}
}
