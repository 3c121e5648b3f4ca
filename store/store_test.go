package store_test

import (
	"crypto/rand"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/store"
	"github.com/codewar/socketbridge/store/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	t.Parallel()
	bridgetest.TestStore(t, func(_ testing.TB, l bridgetest.Limits) func(bridge.NodeID) bridge.Store {
		m := store.NewMemory(store.Limits(l))
		return func(id bridge.NodeID) bridge.Store { return m.Node(id) }
	})
}

func TestRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Server(t)
	bridgetest.TestStore(t, func(t testing.TB, l bridgetest.Limits) func(bridge.NodeID) bridge.Store {
		open := opener(t, server, l)
		return func(id bridge.NodeID) bridge.Store { return open(id) }
	})
}

func TestMemoryWentBack(t *testing.T) {
	t.Parallel()
	bridgetest.TestWentBack(t, func(_ testing.TB, l bridgetest.Limits) bridgetest.Rewindable {
		m := store.NewMemory(store.Limits(l))
		return bridgetest.Rewindable{
			At:   func(id bridge.NodeID) bridge.Store { return m.Node(id) },
			Save: m.Save,
			Back: m.Back,
		}
	})
}

func TestRedisWentBack(t *testing.T) {
	t.Parallel()
	bridgetest.TestWentBack(t, func(t testing.TB, l bridgetest.Limits) bridgetest.Rewindable {
		server := redistest.Server(t)
		open := opener(t, server, l)
		return bridgetest.Rewindable{
			At:   func(id bridge.NodeID) bridge.Store { return open(id) },
			Save: server.Save,
			Back: func() { server.Kill(); server.Restart() },
		}
	})
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	server := redistest.Cluster(t)
	server.Do("ACL SETUSER bridge on >right " + least(t))
	bridgetest.TestStore(t, func(t testing.TB, l bridgetest.Limits) func(bridge.NodeID) bridge.Store {
		cfg := store.Config{Addrs: []string{server.Addr}, Cluster: true, Username: "bridge", Password: "right", Prefix: "bridge:" + rand.Text(), Timeout: 10 * time.Second}
		return func(id bridge.NodeID) bridge.Store { return openRedis(t, cfg, l, id) }
	})
}
