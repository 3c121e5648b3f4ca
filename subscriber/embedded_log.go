package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// serverLog writes the embedded server's lines to ours. Notices are about its
// start and are debug to us; what the server calls fatal must not end the process.
type serverLog struct {
	log *slog.Logger

	mu    sync.Mutex // guards fatal
	fatal error      // the last fatal line
}

// reason is why the server did not become ready.
func (l *serverLog) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		return errors.New("not ready in time")
	}
	return l.fatal
}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	l.fatal = fmt.Errorf(format, v...)
	l.mu.Unlock()
	l.line(slog.LevelError, format, v)
}
func (l *serverLog) Errorf(format string, v ...any)  { l.line(slog.LevelError, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.line(slog.LevelWarn, format, v) }
func (l *serverLog) Noticef(format string, v ...any) { l.line(slog.LevelDebug, format, v) }
func (l *serverLog) Debugf(format string, v ...any)  { l.line(slog.LevelDebug, format, v) }
func (l *serverLog) Tracef(format string, v ...any)  { l.line(slog.LevelDebug, format, v) }

func (l *serverLog) line(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "nats-server", "text", fmt.Sprintf(format, v...))
	}
}
