package subscriber

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/codewar/socketbridge/bridge"
)

// TestEmbeddedAfterACrash: a machine that dies loses what was not on the disk, the lease's record of
// it too. Clients that have more than the stream then are told a gap, and new messages are not taken
// for those that they have. A process that dies loses nothing, and begins no epoch.
func TestEmbeddedAfterACrash(t *testing.T) {
	t.Parallel()
	for name, machine := range map[string]bool{"machine": true, "process": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := embeddedConfig(t)
			a := readsWith(t, open(t, cfg, "a", discard), 1<<20)
			waitFor(t, "a leads", a.intake.Leading)
			waitFor(t, "a has said that it uses the files", a.embedded.marked.Load)
			a.say(t, "u", 0, 50)
			waitFor(t, "a has read", func() bool { return a.index.Horizon().Seq == 50 })
			epoch := a.streams.epoch()
			disk := cfg
			disk.Embedded.StoreDir = t.TempDir()
			if err := os.CopyFS(disk.Embedded.StoreDir, os.DirFS(cfg.Embedded.StoreDir)); err != nil {
				t.Fatal(err)
			}
			if machine {
				lock := filepath.Join(disk.Embedded.StoreDir, "bridge.lock")
				text, err := os.ReadFile(lock)
				if err != nil || bootID() != "" && !strings.Contains(string(text), bootID()) {
					t.Fatalf("the lock file says %q, %v", text, err)
				}
				if err := os.WriteFile(lock, []byte("in use, boot another"), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if bootID() == "" {
				t.Skip("this system does not tell one run of the machine from another")
			}
			for starts := range 2 { // the second time after a stop
				b := readsWith(t, open(t, disk, "a", discard), 1<<20)
				waitFor(t, "b leads", func() bool { return b.intake.Leading() && (b.streams.epoch() > epoch || !machine || starts > 0) })
				waitFor(t, "b has read", func() bool { return b.index.Horizon().Seq == uint64(50+starts) })
				b.say(t, "u", 1000+starts, 1)
				waitFor(t, "b has read the new message", func() bool { return b.index.Horizon().Seq == uint64(51+starts) })
				if now := b.streams.epoch(); now > epoch != (machine && starts == 0) {
					t.Errorf("start %d: epoch %d after %d", starts, now, epoch)
				}
				for _, tt := range []struct {
					after uint64
					gap   bool
				}{{20, false}, {50, false}, {90, machine && starts == 0}} {
					r, err := b.history.Read(t.Context(), bridge.HistoryQuery{User: "u", After: bridge.Offset{Epoch: epoch, Seq: tt.after}, Limit: 1000})
					if err != nil || r.Gap != tt.gap {
						t.Errorf("start %d, cursor %d: gap %v, %v, want %v", starts, tt.after, r.Gap, err, tt.gap)
					}
					if tt.gap && (len(r.Entries) != 1 || r.Entries[0].Offset.Seq != 51) {
						t.Errorf("start %d, cursor %d goes on with %v, want message 51", starts, tt.after, r.Entries)
					}
				}
				epoch = b.streams.epoch()
				b.stop()
				if err := b.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
