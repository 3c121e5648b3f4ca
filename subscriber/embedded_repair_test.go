package subscriber

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// TestEmbeddedStoresAgain: an embedded server that could not write its files for a
// while stores again by itself once it can, with what it had stored before.
func TestEmbeddedStoresAgain(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t)
	cfg.Stream.MaxBytes, cfg.DeadLetter.MaxBytes = 64<<20, 1<<20
	var book logBook
	c := open(t, cfg, "a", book.logger())
	store := func() (bridge.Offset, error) {
		return c.Publish(t.Context(), Publication{Topic: "t", Body: []byte(`{"fill":"` + strings.Repeat("x", 900_000) + `"}`)})
	}
	first, err := store()
	if err != nil {
		t.Fatal(err)
	}
	// A file in place of the directory: the next block of messages cannot be opened.
	dirs, err := filepath.Glob(filepath.Join(cfg.Embedded.StoreDir, "jetstream", "*", "streams", c.cfg.Stream.Name, "msgs"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("directories of messages: %v, %v", dirs, err)
	}
	if err := os.Rename(dirs[0], dirs[0]+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dirs[0], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	last := first
	for range 100 {
		o, err := store()
		if err != nil {
			break
		}
		last = o
	}
	if last.Seq >= 100 {
		t.Fatal("the stream stores without its directory")
	}
	if err := os.Remove(dirs[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dirs[0]+".away", dirs[0]); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	wait.Until(t, "the server stores again", func() string {
		o, err := store()
		if err != nil {
			return fmt.Sprintf("after %v: %v", time.Since(began), err)
		}
		if o.Epoch != first.Epoch || o.Seq <= last.Seq {
			t.Fatalf("stored at %v, after %v had been acknowledged", o, last)
		}
		return ""
	})
	if book.count("embedded nats stores nothing, starting jetstream again") == 0 {
		t.Errorf("the log does not say so:\n%s", book.text.String())
	}
}
