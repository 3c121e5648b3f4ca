package subscriber

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// identityEvery is how often a process asks for other processes with its node id.
	identityEvery = 2 * time.Second
	// identityAnswers is how long it waits for their answers.
	identityAnswers = 300 * time.Millisecond
)

// errUnchecked is the state of an identity before the first answers.
var errUnchecked = errors.New("node id is not yet known to be free")

// nodeIdentity finds other processes with this node's id. Two such processes receive each other's
// forwards and replace each other's registrations, so only one of them may serve: the one that was sure
// of its id first, and of two such processes the one with the lesser instance. Safe for concurrent use.
type nodeIdentity struct {
	client   *Client
	instance string // names this process

	mu   sync.Mutex // guards all below
	sure bool       // the id was free once, or this process keeps it
	err  error      // why this process is not ready; nil when it is
}

// identityAnswer is the answer of one process.
type identityAnswer struct {
	Instance string `json:"instance"`
	Sure     bool   `json:"sure"`
}

// KeepIdentity asks, until ctx ends, whether another process has this node's id.
// [Client.IdentityErr] has the result. free is called once, when this process is the first time sure of
// the id: before that it must not announce or register anything. While NATS is not available
// the result does not change. Call it once.
func (c *Client) KeepIdentity(ctx context.Context, free func()) {
	free = sync.OnceFunc(free)
	i := &nodeIdentity{client: c, instance: rand.Text(), err: errUnchecked}
	c.identity.Store(i)
	unsubscribe, err := c.subscribe(c.cfg.identitySubject(c.node), "listen for the node id", i.answer)
	if err != nil {
		c.log.Error("node id not kept, a process with the same one goes unnoticed", "err", err)
		return
	}
	defer unsubscribe()
	for {
		changed := c.conn.change()
		i.check(ctx)
		wait := identityEvery
		switch err := i.owned(); {
		case err == nil:
			free()
		case errors.Is(err, errUnchecked):
			wait = identityAnswers // the start of the program waits for it
		}
		select {
		case <-time.After(wait):
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// IdentityErr returns nil while no other process is known to have this node's id.
func (c *Client) IdentityErr() error {
	i := c.identity.Load()
	if i == nil {
		return errUnchecked
	}
	return i.owned()
}

// owned returns nil while this process has the id.
func (i *nodeIdentity) owned() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.err
}

// answer answers with the instance of this process.
func (i *nodeIdentity) answer(m *nats.Msg) {
	i.mu.Lock()
	data, err := json.Marshal(identityAnswer{i.instance, i.sure})
	i.mu.Unlock()
	if err == nil && m.Reply != "" {
		err = respond(m, data)
	}
	if err != nil {
		i.client.log.Debug("question for the node id not answered", "err", err)
	}
}

// check asks once. Without an answer of NATS the last result stays.
func (i *nodeIdentity) check(ctx context.Context) {
	others, err := i.others(ctx)
	if err != nil {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	was := i.err
	i.err = nil
	for _, o := range others {
		if o.Sure && !i.sure || o.Sure == i.sure && o.Instance < i.instance {
			i.err = fmt.Errorf("node.id %q is another living process's: give each process its own", i.client.node)
		}
	}
	i.sure = i.err == nil
	switch conflict := was != nil && !errors.Is(was, errUnchecked); {
	case i.err != nil && !conflict:
		i.client.log.Error("node id is another living process's, this one is not ready", "instance", i.instance)
	case i.err == nil && conflict:
		i.client.log.Info("node id is free again")
	}
}

// others returns the answers of other processes with this node's id.
func (i *nodeIdentity) others(ctx context.Context) (others []identityAnswer, err error) {
	nc := i.client.nc
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("listen for answers: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.PublishRequest(i.client.cfg.identitySubject(i.client.node), inbox, nil); err != nil {
		return nil, fmt.Errorf("ask for the node id: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, identityAnswers)
	defer cancel()
	own := false
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			if !own { // not even this process's own answer came: NATS is not available, or slow
				return nil, err
			}
			return others, nil
		}
		var a identityAnswer
		if json.Unmarshal(m.Data, &a) != nil {
			continue // not sent by a bridge
		}
		if a.Instance == i.instance {
			own = true
			continue
		}
		others = append(others, a)
	}
}
