package store

import (
	"context"
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/codewar/socketbridge/bridge"
)

// A registration that is on its way while the node joins anew must not leave the
// socket with a dead incarnation: no message would find it until it reconnects.
func TestRegisterOvertakenByRejoin(t *testing.T) {
	t.Parallel()
	server, r := openInside(t)
	late := &lateRegister{reached: make(chan struct{}), release: make(chan struct{})}
	r.client.AddHook(late)
	ctx := t.Context()
	if _, err := r.Beat(ctx); err != nil {
		t.Fatal(err)
	}
	server.FlushAll()

	reg := bridge.Registration{User: "u", Socket: "s", Token: "t"}
	registered := make(chan error, 1)
	go func() {
		_, err := r.Register(ctx, reg)
		registered <- err
	}()
	<-late.reached
	if rejoined, err := r.Beat(ctx); err != nil || !rejoined {
		t.Fatalf("Beat: rejoined %t, %v", rejoined, err)
	}
	close(late.release)
	if err := <-registered; err != nil {
		t.Fatal(err)
	}
	if got := r.Locate(ctx, []bridge.UserID{"u"})[0]; got.Err != nil || len(got.Sockets) != 1 {
		t.Errorf("Locate: %+v; want the socket", got)
	}
}

// lateRegister holds the first registration back until it is released.
type lateRegister struct {
	reached, release chan struct{}
	held             bool // by one; its goroutine is the first to come here
}

func (*lateRegister) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*lateRegister) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *lateRegister) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if !h.held && slices.Contains(cmds[0].Args(), registerScript.hash) {
			h.held = true
			close(h.reached)
			<-h.release
		}
		return next(ctx, cmds)
	}
}
