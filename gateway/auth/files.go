package auth

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"
)

// filesEvery is how often key files are looked at. Looking, unlike being told by
// the file system, also works for what containers mount and replace by a link.
const filesEvery = 5 * time.Second

// files are keys in files, read again when they change.
type files struct {
	paths []string
	log   *slog.Logger

	mu   sync.RWMutex // guards what follows
	text [][]byte     // of each file when it was last good
	keys [][]Key
}

// openFiles fails when a file is not there or holds no key: at start it is a mistake.
func openFiles(paths []string, log *slog.Logger) (*files, error) {
	f := &files{paths: paths, log: log}
	for _, path := range paths {
		text, keys, err := readKeyFile(path)
		if err != nil {
			return nil, err
		}
		f.text, f.keys = append(f.text, text), append(f.keys, keys)
	}
	return f, nil
}

// all returns the keys of all files.
func (f *files) all() (keys []Key) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	for _, k := range f.keys {
		keys = append(keys, k...)
	}
	return keys
}

// run looks at the files until ctx ends.
func (f *files) run(ctx context.Context) {
	if len(f.paths) == 0 {
		return
	}
	tick := time.NewTicker(filesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.reload(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// reload takes over what has changed. A file that has become unreadable, perhaps
// because it is being written, leaves its keys in force.
func (f *files) reload(ctx context.Context) {
	for i, path := range f.paths {
		text, keys, err := readKeyFile(path)
		if err != nil {
			f.log.LogAttrs(ctx, slog.LevelWarn, "key file not read, its keys stay", slog.String("path", path), slog.Any("err", err))
			continue
		}
		if bytes.Equal(text, f.text[i]) { // only reload writes
			continue
		}
		f.mu.Lock()
		f.text[i], f.keys[i] = text, keys
		f.mu.Unlock()
		f.log.LogAttrs(ctx, slog.LevelInfo, "keys changed", slog.String("path", path), slog.String("keys", ids(keys)))
	}
}
