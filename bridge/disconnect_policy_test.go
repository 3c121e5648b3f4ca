package bridge_test

import (
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// TestDisconnectPolicy: after how many seconds of not serving, counted from 1, clients are disconnected; 0: never.
func TestDisconnectPolicy(t *testing.T) {
	t.Parallel()
	type nodes = []bridge.NodeID
	for name, tt := range map[string]struct {
		serving, all nodes
		want         int
	}{
		"another serves":                {nodes{"b"}, nodes{"a", "b", "m"}, 5}, // behind a third that does not serve either
		"the others serve":              {nodes{"a", "b"}, nodes{"a", "b", "m"}, 2},
		"none serves":                   {nodes{}, nodes{"a", "b", "m"}, 0},
		"only itself is said to serve":  {nodes{"m"}, nodes{"a", "b", "m"}, 0},
		"nothing can be known":          {nil, nil, 0},
		"three of six are before it":    {nodes{"x", "y"}, nodes{"a", "b", "c", "m", "x", "y"}, 5},
		"those that come after may too": {nodes{"x"}, nodes{"m", "n", "o", "x"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var l bridge.DisconnectPolicy
			start := time.Unix(1_800_000_000, 0)
			l.Decide(start, "m", true, tt.serving, tt.all)
			went := 0
			for s := 1; s <= 100; s++ {
				if l.Decide(start.Add(time.Duration(s)*time.Second), "m", false, tt.serving, tt.all) {
					if went > 0 {
						t.Fatalf("let go after %d s and after %d s", went, s)
					}
					went = s
				}
			}
			if went != tt.want {
				t.Errorf("let go after %d s, want %d", went, tt.want)
			}
			// It served for a moment: that is no reason to let clients go twice in two minutes.
			l.Decide(start.Add(101*time.Second), "m", true, tt.serving, tt.all)
			if l.Decide(start.Add(115*time.Second), "m", false, tt.serving, tt.all) && went > 0 {
				t.Error("let go a second time")
			}
		})
	}
}
