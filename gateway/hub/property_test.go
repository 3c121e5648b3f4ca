package hub

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/store/redistest"
)

// openStore opens the store of a node. The stores of one round's nodes are one.
type openStore func(bridge.NodeID) bridge.Store

// propertyRounds plays so many rounds with a store in memory and with Redis, each from a seed of
// its own. What play returns is told, with the seed, of a round that fails.
func propertyRounds(t *testing.T, memory, redis int, play func(t *testing.T, seed uint64, open openStore) (what string)) {
	t.Helper()
	rounds := func(t *testing.T, n int, open func(round int) openStore) {
		base := rand.Uint64()
		if testing.Short() {
			n /= 10
		}
		for round := range n {
			seed := base + uint64(round)
			if what := play(t, seed, open(round)); t.Failed() {
				t.Fatalf("round %d, seed %d %s", round, seed, what)
			}
		}
	}
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		rounds(t, memory, func(int) openStore {
			m := store.NewMemory(store.Limits{})
			return func(id bridge.NodeID) bridge.Store { return m.Node(id) }
		})
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		server := redistest.Server(t)
		rounds(t, redis, func(round int) openStore {
			return func(id bridge.NodeID) bridge.Store {
				cfg := store.Config{Addrs: []string{server.Addr}, Prefix: fmt.Sprint("round", round), Timeout: 10 * time.Second}
				s, err := store.OpenRedis(t.Context(), cfg, store.Limits{}, id, slog.New(slog.DiscardHandler))
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
		})
	})
}
