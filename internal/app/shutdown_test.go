package app

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestShutdown: last started, first stopped; a stuck step spends only its own time.
func TestShutdown(t *testing.T) {
	t.Parallel()
	var order []string
	var down shutdown
	for _, name := range []string{"first", "stuck", "last"} {
		down.add(name, 10*time.Millisecond, func(ctx context.Context) error {
			order = append(order, name)
			if name != "stuck" {
				return ctx.Err()
			}
			<-ctx.Done()
			return context.Cause(ctx)
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel() // a stop function must not be given the signal's ended context
	err := down.run(ended, slog.New(slog.DiscardHandler))
	if d := cmp.Diff([]string{"last", "stuck", "first"}, order); d != "" {
		t.Errorf("order (-want +got):\n%s", d)
	}
	if want := "stop stuck: not done within 10ms"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
