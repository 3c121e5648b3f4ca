package subscriber

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/codewar/socketbridge/bridge"
)

func TestBatchBufferIsBounded(t *testing.T) {
	tests := map[string]struct {
		body, want int // bytes of a message, messages in a full batch
	}{
		"by messages": {100, batchMessages},
		"by bytes":    {batchBytes / 4, 4},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				g := newBatchBuffer()
				added := 0
				go func() {
					for ; ctx.Err() == nil; added++ {
						g.add(ctx, bridge.Message{Body: make([]byte, tt.body)})
					}
				}()
				for range 2 {
					synctest.Wait() // the adder waits for room
					if got := len(g.take()); got != tt.want {
						t.Errorf("a full batch has %d messages, want %d", got, tt.want)
					}
				}
				synctest.Wait()
				cancel()
				synctest.Wait()
				if want := 3*tt.want + 1; added != want { // the last one was given up
					t.Errorf("added %d, want %d", added, want)
				}
			})
		})
	}
}
