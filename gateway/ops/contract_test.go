package ops

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/internal/contract"
	"github.com/codewar/socketbridge/store"
)

// elsewhere are operations of routes that package main adds; its own test asks for them.
var elsewhere = []string{"GET /api/v1/loglevel", "GET /api/v1/logs", "PUT /api/v1/loglevel"}

// TestEveryRouteIsInAContract, and every operation of a contract is a route.
func TestEveryRouteIsInAContract(t *testing.T) {
	t.Parallel()
	log, s := slog.New(slog.DiscardHandler), store.NewMemory(store.Limits{}).Node("n")
	srv := gateway.NewServer(gateway.Config{OpsOnOwnListener: true}, gateway.NewHub(s, gateway.HubConfig{}, log), s, nil, nil, prometheus.NewRegistry(), log)
	d := &Desk{cfg: Config{Server: srv, Feed: NewFeed("n")}, log: log}
	d.serve()
	d.serveConsole()
	t.Cleanup(func() {
		_ = d.Close(context.Background())
		_ = srv.Shutdown(context.Background(), 0)
	})
	callers, operators := srv.Routes()
	for file, routes := range map[string][]*echo.Route{"../contract/openapi.json": callers, "../contract/openapi_ops.json": operators} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range routes {
			if r.Path == "/socket.io/" && r.Method != http.MethodGet && r.Method != http.MethodPost {
				continue // the endpoint refuses those itself
			}
			names = append(names, r.Method+" "+contract.Route(r.Path))
		}
		slices.Sort(names)
		described := slices.DeleteFunc(contract.Open(t, text).Operations(), func(o string) bool { return slices.Contains(elsewhere, o) })
		if d := cmp.Diff(names, described); d != "" {
			t.Errorf("%s and routes (-routes +contract):\n%s", file, d)
		}
	}
}
