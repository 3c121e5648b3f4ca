package limit

import (
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// zeros never end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestByteRate(t *testing.T) {
	t.Parallel()
	const perSecond = 100_000
	for name, tt := range map[string]struct {
		bytes       int64
		least, most time.Duration
		perSecond   int
	}{
		"at once":  {burstBytes, 0, 0, perSecond},
		"bulk":     {burstBytes + 10*perSecond, 9 * time.Second, 10 * time.Second, perSecond},
		"no limit": {1 << 30, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				if _, err := io.CopyN(io.Discard, Paced(zeros{}, tt.perSecond), tt.bytes); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); took < tt.least || took > tt.most {
					t.Errorf("%d bytes took %v, want %v to %v", tt.bytes, took, tt.least, tt.most)
				}
			})
		})
	}
}

// TestByteRateRests: after a pause as much may come at once as in the beginning.
func TestByteRateRests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := NewByteRate(1000)
		for range 3 {
			begin := time.Now()
			f.Count(burstBytes)
			if f.Pause(); time.Since(begin) != 0 || !f.Bulk() {
				t.Errorf("waited %v, bulk %v", time.Since(begin), f.Bulk())
			}
			f.Count(2000)
			if f.Pause(); time.Since(begin) != 2*time.Second {
				t.Errorf("waited %v, want 2 s", time.Since(begin))
			}
			time.Sleep(time.Hour)
		}
	})
}
