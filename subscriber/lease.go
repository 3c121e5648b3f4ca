package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

// Times of the lease. Nodes do not compare clocks: each candidate measures with its own clock how
// long the revision has not changed.
const (
	// renewEvery is how often the leader renews the lease and a candidate reads it.
	renewEvery = 100 * time.Millisecond
	// endedAfter is how long the revision must not have changed before a candidate replaces a
	// leader whose process is not connected to NATS. A leader whose connection is lost
	// reconnects and renews the lease before that.
	endedAfter = 300 * time.Millisecond
	// stalledAfter is the same for a leader whose process is still connected: it hangs,
	// or its network is cut. A pause of a busy machine must be shorter than this, or another node
	// leads.
	stalledAfter = 1500 * time.Millisecond
	// leaseCall bounds one request for the lease.
	leaseCall = time.Second
	// leaseHeld is how long a leader leads without being able to renew the lease. It
	// is longer than JetStream takes to elect a leader of the bucket: until then no
	// other node can write the lease either.
	leaseHeld = 5 * time.Second
	// coldAfter is added to endedAfter and stalledAfter by a candidate without an index, which must
	// read the stream first: a candidate with an index is earlier.
	coldAfter = 400 * time.Millisecond
)

// LeaderChange bounds how long no node leads after a leader hangs. A leader whose process has ended
// is replaced in a fourth of that.
const LeaderChange = 2 * time.Second

// leaseKey is the only key of the bucket.
const leaseKey = "leader"

// aliveLimit is how long the holder of the lease may take to answer that it is alive. When its
// process has ended, nats-server answers at once.
const aliveLimit = 200 * time.Millisecond

// errStale means that the lease has changed since it was loaded.
var errStale = errors.New("lease was changed meanwhile")

// leaseRecord says who leads.
type leaseRecord struct {
	Term   uint64        `json:"term"`
	Node   bridge.NodeID `json:"node,omitempty"`
	Holder string        `json:"holder,omitempty"` // names one process; empty: the lease is free
	// Handed is the message up to which leaders have dispatched, at most renewEvery ago; zero: not
	// known.
	Handed bridge.StoredMessage `json:"handed,omitzero"`
	// Lineage is the epochs of the stream; nil when it has only that of its creation.
	Lineage *lineage `json:"lineage,omitempty"`
}

// leaseBucket keeps the lease. Each change gives it a greater revision.
type leaseBucket interface {
	// load returns the lease and its revision, zero when there is none.
	load(ctx context.Context) (leaseRecord, uint64, error)
	// save replaces the lease of that revision, zero to create one, and returns the new
	// revision. It returns errStale when the revision is another; after any other
	// error the lease may have been replaced.
	save(ctx context.Context, r leaseRecord, revision uint64) (uint64, error)
	// ended reports whether the process of a holder is certainly not connected to NATS.
	ended(ctx context.Context, holder string) bool
}

// natsLease keeps the lease in a key-value bucket, which NATS replicates like the
// stream: a node that can write it can read the stream, and all changes have one order.
// Safe for concurrent use.
type natsLease struct {
	client *Client
	bucket string
	holder string // names this process

	mu sync.Mutex // guards kv
	kv jetstream.KeyValue
}

func newNATSLease(c *Client, holder string) *natsLease {
	return &natsLease{client: c, bucket: c.cfg.leaseBucket(), holder: holder}
}

func (l *natsLease) subject(holder string) string {
	return l.client.cfg.leaderSubject(holder)
}

// listen answers that this process is alive, until the returned function is called.
func (l *natsLease) listen() (end func(), err error) {
	return l.client.subscribe(l.subject(l.holder), "listen as leader", func(m *nats.Msg) {
		if err := m.Respond(nil); err != nil {
			l.client.log.Debug("question for the leader not answered", "err", err)
		}
	})
}

// open returns the bucket, and creates it when it does not exist.
func (l *natsLease) open(ctx context.Context) (jetstream.KeyValue, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kv != nil {
		return l.kv, nil
	}
	js := l.client.js
	kv, err := js.KeyValue(ctx, l.bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		_, err = js.CreateStream(ctx, l.streamConfig())
		if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // by another node
			kv, err = js.KeyValue(ctx, l.bucket)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", l.bucket, err)
	}
	l.kv = kv
	return kv, nil
}

// streamConfig is the stream of a key-value bucket with one value, by ADR-8 of the NATS
// project. CreateKeyValue creates the same stream, but needs the permission to read the account's
// usage.
func (l *natsLease) streamConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "KV_" + l.bucket, Subjects: []string{"$KV." + l.bucket + ".>"},
		Description: "which bridge reads the stream, see codewar/socketbridge",
		Storage:     jetstream.FileStorage, Replicas: l.client.cfg.Stream.Replicas,
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true, AllowDirect: true,
	}
}

// reopen makes the next call look up the bucket: it may have been deleted.
func (l *natsLease) reopen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kv = nil
}

func (l *natsLease) load(ctx context.Context) (leaseRecord, uint64, error) {
	if err := l.client.conn.err(); err != nil {
		return leaseRecord{}, 0, err
	}
	ctx, cancel := l.client.conn.while(ctx)
	defer cancel()
	kv, err := l.open(ctx)
	if err != nil {
		return leaseRecord{}, 0, err
	}
	entry, err := kv.Get(ctx, leaseKey)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return leaseRecord{}, 0, nil
	case err != nil:
		l.reopen()
		return leaseRecord{}, 0, fmt.Errorf("read lease: %w", err)
	}
	var r leaseRecord
	if err := json.Unmarshal(entry.Value(), &r); err != nil {
		// Another program wrote it. A candidate treats it as a free lease.
		return leaseRecord{}, entry.Revision(), nil
	}
	return r, entry.Revision(), nil
}

func (l *natsLease) save(ctx context.Context, r leaseRecord, revision uint64) (uint64, error) {
	if err := l.client.conn.err(); err != nil {
		return 0, err
	}
	ctx, cancel := l.client.conn.while(ctx)
	defer cancel()
	kv, err := l.open(ctx)
	if err != nil {
		return 0, err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("encode lease: %w", err)
	}
	revision, err = kv.Update(ctx, leaseKey, value, revision)
	if stale, ok := errors.AsType[*jetstream.APIError](err); ok && stale.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return 0, errStale
	}
	if err != nil {
		l.reopen()
		return 0, fmt.Errorf("write lease: %w", err)
	}
	return revision, nil
}

func (l *natsLease) ended(ctx context.Context, holder string) bool {
	if holder == "" || strings.ContainsAny(holder, " .*>") {
		return true // not written by a bridge
	}
	ctx, cancel := context.WithTimeout(ctx, aliveLimit)
	defer cancel()
	_, err := l.client.request(ctx, l.subject(holder), nil)
	return errors.Is(err, bridge.ErrNodeGone)
}
