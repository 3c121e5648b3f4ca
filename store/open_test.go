package store

import (
	"log/slog"
	"testing"
	"time"

	"github.com/codewar/socketbridge/store/redistest"
)

// openInside opens a store on a Redis of its own, for tests that look inside.
func openInside(t *testing.T) (*redistest.Redis, *Redis) {
	server := redistest.Server(t)
	r, err := OpenRedis(t.Context(), Config{Addrs: []string{server.Addr}, Timeout: 10 * time.Second}, Limits{}, "a", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return server, r
}
