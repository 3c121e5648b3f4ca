package loadtest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestAccount: each kind of fault is counted as what it is, and is an error.
func TestAccount(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	for name, tt := range map[string]struct {
		came   []uint64 // of five that were published, the third perhaps
		third  error
		want   Result
		failed bool
	}{
		"all":          {[]uint64{1, 2, 3, 4, 5}, nil, Result{Published: 5, Received: 5}, false},
		"end lost":     {[]uint64{1, 2, 3}, nil, Result{Published: 5, Received: 3, Lost: 2}, true},
		"middle lost":  {[]uint64{1, 2, 4, 5}, nil, Result{Published: 5, Received: 4, Lost: 1}, true},
		"twice":        {[]uint64{1, 2, 2, 3, 4, 5}, nil, Result{Published: 5, Received: 6, Duplicates: 1}, true},
		"out of order": {[]uint64{1, 3, 2, 4, 5}, nil, Result{Published: 5, Received: 5, Inversions: 1}, true},
		"not sent":     {[]uint64{1, 2, 4, 5}, refused, Result{Published: 4, Failed: 1, Received: 4}, true},
		"sent perhaps": {[]uint64{1, 2, 3, 4, 5}, refused, Result{Published: 4, Failed: 1, Received: 5}, true},
		"nothing came": {nil, nil, Result{Published: 5, Lost: 5}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(1)
			for n := uint64(1); n <= 5; n++ {
				var err error
				if n == 3 {
					err = tt.third
				}
				a.published(due{n: n}, err)
			}
			for _, n := range tt.came {
				a.took(0, n, 0)
			}
			got := a.result()
			if (got.Err() != nil) != tt.failed {
				t.Errorf("error %v", got.Err())
			}
			if n := got.Latency.TotalCount(); n != int64(len(tt.came)) {
				t.Errorf("%d latencies", n)
			}
			got.Users, got.Latency, got.FirstError = 0, nil, nil
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

// TestSettle waits for what is under way, as long as something comes.
func TestSettle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAccount(1)
		for n := range uint64(4) {
			a.published(due{n: n + 1}, nil)
		}
		began := time.Now()
		go func() {
			for n := range uint64(3) {
				time.Sleep(2 * time.Second)
				a.took(0, n+1, 0)
			}
		}()
		a.settle(t.Context(), 3*time.Second)
		if took := time.Since(began); took < 9*time.Second || took > 10*time.Second || a.result().Lost != 1 {
			t.Errorf("settled after %v with %+v", took, a.result())
		}
	})
}
