package sio

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/internal/metrics"
	"github.com/codewar/socketbridge/internal/testutil/capture"
)

// TestDropIsLogged: the log names the reason for which a connection was closed, and does not
// call it a limit.
func TestDropIsLogged(t *testing.T) {
	t.Parallel()
	var log capture.Text
	s := New(Config{}, &recorder{}, slog.New(slog.NewTextHandler(&log, nil)))
	web := httptest.NewServer(s)
	defer web.Close()
	for range 2 {
		c := joinWS(t, web.URL, "")
		c.send("no packet")
		c.wantEnd()
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	const want = `level=WARN msg="connection dropped" component=sio reason="protocol error" times=1 address=127.0.0.1`
	if got := strings.TrimSpace(log.String()); !strings.HasSuffix(got, want) || strings.Contains(got, "\n") {
		t.Errorf("log:\n%s\nwant one line that ends with\n%s", got, want)
	}
}

// blockedLog is a handler of log records that blocks until it is closed.
type blockedLog struct {
	slog.Handler
	closed chan struct{}
}

func (l *blockedLog) Handle(context.Context, slog.Record) error {
	<-l.closed
	return nil
}

func (l *blockedLog) WithAttrs([]slog.Attr) slog.Handler { return l }

// TestEndDoesNotBlockPush: while the log blocks, a push to the connection that has ended
// returns, and the end is counted.
func TestEndDoesNotBlockPush(t *testing.T) {
	t.Parallel()
	blocked := make(chan struct{})
	r := &recorder{}
	s := New(Config{}, r, slog.New(&blockedLog{slog.DiscardHandler, blocked}))
	web := httptest.NewServer(s)
	defer web.Close()
	c := joinWS(t, web.URL, "")
	to := r.socket(t, 0)
	c.send("no packet")
	pushed := make(chan error, 1)
	go func() {
		waitFor(t, func() bool { return s.Stats().Websocket == 0 })
		pushed <- to.Push(numbered(0))
	}()
	select {
	case err := <-pushed:
		if !errors.Is(err, ErrClosed) {
			t.Errorf("got %v, want %v", err, ErrClosed)
		}
	case <-time.After(5 * time.Second):
		t.Error("a push waits for the log")
	}
	if n := metrics.Value(s.metrics.ends[ReasonProtocol]); n != 1 {
		t.Errorf("%d ends are counted, want 1", n)
	}
	close(blocked)
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestLocksAreDocumented: doc.go names each mutex of the package in its lock order.
func TestLocksAreDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, order, _ := strings.Cut(string(doc), "// Locks")
	names, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok {
				return true
			}
			of, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range of.Fields.List {
				typ, ok := field.Type.(*ast.SelectorExpr)
				if !ok || !strings.HasSuffix(typ.Sel.Name, "Mutex") {
					continue
				}
				n++
				if lock := spec.Name.Name + "." + field.Names[0].Name; !strings.Contains(order, lock) {
					t.Errorf("%s: doc.go does not have %s in the lock order", name, lock)
				}
			}
			return true
		})
	}
	if n < 5 {
		t.Errorf("only %d locks were found", n)
	}
}
