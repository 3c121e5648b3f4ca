package subscriber

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/subscriber/natstest"
)

// bucketOf is a node's access to the lease.
func bucketOf(t *testing.T, s *natstest.Instance, holder string) *natsLease {
	t.Helper()
	return newNATSLease(ready(t, s, bridge.NodeID("n-"+holder)), holder)
}

func TestLeaseIsChangedByOneAtATime(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := bucketOf(t, s, "A"), bucketOf(t, s, "B")
	ctx := t.Context()
	if r, revision, err := a.load(ctx); err != nil || revision != 0 || r.Holder != "" {
		t.Fatalf("a lease that was never written: %+v, revision %d, %v", r, revision, err)
	}
	want := leaseRecord{Term: 3, Node: "a", Holder: "A"}
	first, err := a.save(ctx, want, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.save(ctx, leaseRecord{Holder: "B"}, 0); !errors.Is(err, errStale) {
		t.Errorf("created a second time: %v", err)
	}
	next, err := a.save(ctx, want, first)
	if err != nil || next <= first {
		t.Errorf("renewed to revision %d after %d: %v", next, first, err)
	}
	if _, err := b.save(ctx, leaseRecord{Holder: "B"}, first); !errors.Is(err, errStale) {
		t.Errorf("replaced an old revision: %v", err)
	}
	if got, revision, err := b.load(ctx); err != nil || cmp.Diff(want, got) != "" || revision != next {
		t.Errorf("lease %+v, revision %d, %v; want %+v, %d", got, revision, err, want, next)
	}
}

// A bucket that an operator deletes, or fills with something else, is no reason to stand still.
func TestLeaseAfterItsBucketIsGone(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a := bucketOf(t, s, "A")
	ctx := t.Context()
	revision, err := a.save(ctx, leaseRecord{Term: 1, Holder: "A"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.client.js.DeleteKeyValue(ctx, a.bucket); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the lease can be read again", func() bool { _, _, err = a.load(ctx); return err == nil })
	if _, err := a.save(ctx, leaseRecord{Term: 1, Holder: "A"}, revision); !errors.Is(err, errStale) {
		t.Errorf("renewed in a new bucket: %v", err)
	}
	kv, err := a.client.js.KeyValue(ctx, a.bucket)
	if err != nil {
		t.Fatal(err)
	}
	strange, err := kv.Put(ctx, leaseKey, []byte("not a lease"))
	if err != nil {
		t.Fatal(err)
	}
	if r, revision, err := a.load(ctx); err != nil || revision != strange || r.Holder != "" {
		t.Errorf("a value that is no lease: %+v, revision %d, %v; want a free lease", r, revision, err)
	}
}

func TestLeaseHolderHasEnded(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	a, b := bucketOf(t, s, "A"), bucketOf(t, s, "B")
	if !b.ended(t.Context(), "A") {
		t.Error("a process that never listened has not ended")
	}
	if _, err := a.listen(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the process lives", func() bool { return !b.ended(t.Context(), "A") })
	disconnected(a.client)
	waitFor(t, "the process has ended", func() bool { return b.ended(t.Context(), "A") })
	for _, holder := range []string{"", "*", ">", "a.b", "a b"} {
		if !b.ended(t.Context(), holder) {
			t.Errorf("holder %q, which no bridge writes, has not ended", holder)
		}
	}
}

// A leader that is killed is replaced before one that hangs would be.
func TestKilledLeaderIsReplacedBeforeAHungOne(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	_, ia, _ := lead(t, s, "a")
	b := &taker{}
	ib, _ := run(t, ready(t, s, "b"), b.handler())
	disconnected(ia.client)
	died := time.Now()
	waitFor(t, "b leads", ib.Leading)
	if took := time.Since(died); took >= stalledAfter {
		t.Errorf("b leads after %v, want less than %v", took, stalledAfter)
	}
}
