package store

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestOps: an operation that is not in the list would be counted by nobody.
func TestOps(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var done []string
	for _, f := range files {
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\.do\([\w.]+, "(\w+)"`).FindAllSubmatch(source, -1) {
			done = append(done, string(m[1]))
		}
	}
	slices.Sort(done)
	if d := cmp.Diff(ops, slices.Compact(done)); d != "" {
		t.Errorf("operations (-listed +done):\n%s", d)
	}
}

func TestParseMemory(t *testing.T) {
	t.Parallel()
	info := "# Memory\r\nused_memory:1048576\r\nused_memory_human:1.00M\r\nmaxmemory:4194304\r\nmaxmemory_policy:noeviction\r\n"
	if got, want := parseMemory(info), (redisMemory{used: 1 << 20, max: 4 << 20}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if full, empty := (redisMemory{3, 4}), (redisMemory{1 << 40, 0}); full.fullness() <= empty.fullness() {
		t.Error("one without a limit is fuller than one that is nearly full")
	}
}

// TestRisks: settings that endanger what is kept are named.
func TestRisks(t *testing.T) {
	t.Parallel()
	const limited, open = "maxmemory:100\r\n", "maxmemory:0\r\n"
	for name, tt := range map[string]struct {
		rtt  time.Duration
		info string
		want []string
	}{
		"none":            {time.Millisecond, limited + "maxmemory_policy:noeviction\r\n", nil},
		"without a limit": {time.Millisecond, open + "maxmemory_policy:allkeys-lru\r\n", nil},
		"not told":        {time.Millisecond, "", nil},
		"evicts":          {time.Millisecond, limited + "maxmemory_policy:volatile-ttl\r\n", []string{"maxmemory-policy of r:1 is volatile-ttl: when its memory is full, sockets and sessions vanish; set it to noeviction"}},
		"far":             {101 * time.Millisecond, "", []string{"redis.timeout is 500ms and a round trip to r:1 takes 101ms: calls fail when it is a little slower; set it to 510ms or more"}},
	} {
		if d := cmp.Diff(tt.want, risks("r:1", 500*time.Millisecond, tt.rtt, tt.info)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
