// Package capture keeps what a program or a logger writes, for tests that read it
// while it runs.
package capture

import (
	"strings"
	"sync"
)

// Text collects what is written to it. The zero value is ready to use. Safe for
// concurrent use.
type Text struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

// Write never fails.
func (t *Text) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

// String is all that was written so far.
func (t *Text) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}
