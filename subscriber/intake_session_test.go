package subscriber

import (
	"errors"
	"testing"
	"time"
)

// TestColdReaderBegins: the window is read whole, and 2 million messages where the stream has them. The
// older ones of those say which users have missed nothing: were the read to begin with the window,
// each client whose last message is older would be told a gap.
func TestColdReaderBegins(t *testing.T) {
	t.Parallel()
	const million = 1_000_000
	now := time.UnixMilli(100_000_000)
	window := func(since time.Duration) time.Time { return now.Add(-since) }
	for name, tt := range map[string]struct {
		first, last uint64
		perSecond   uint64 // messages
		deleted     uint64 // up to here
		want        uint64
	}{
		"empty stream":               {0, 0, 1, 0, 1},
		"short stream":               {5, 1000, 1000, 0, 5},
		"window of few messages":     {1, 9 * million, 10, 0, 7 * million},
		"window of many messages":    {1, 9 * million, 9_000, 0, 3 * million},
		"window is the whole stream": {1, 9 * million, 100_000, 0, 1},
		"older ones were deleted":    {1, 9 * million, 10_000, 5 * million, 5 * million},
	} {
		begin, err := cold(tt.first, tt.last, window(10*time.Minute), func(seq uint64) (int64, error) {
			if seq <= tt.deleted {
				return 0, nil
			}
			return now.Add(-time.Second * time.Duration((tt.last-seq)/tt.perSecond)).UnixMilli(), nil
		})
		if err != nil || begin != tt.want {
			t.Errorf("%s: begins at %d, %v, want %d", name, begin, err, tt.want)
		}
	}
	away := errors.New("away")
	if _, err := cold(1, 9*million, now, func(uint64) (int64, error) { return 0, away }); !errors.Is(err, away) {
		t.Errorf("a stream that cannot be asked: %v", err)
	}
}
