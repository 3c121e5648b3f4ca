package admin

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/bridge/bridgetest"
	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/internal/testutil/contract"
	"github.com/codewar/socketbridge/store"
)

// TestEveryRouteIsInAContract, and every operation of a contract is a route.
func TestEveryRouteIsInAContract(t *testing.T) {
	t.Parallel()
	log, s := slog.New(slog.DiscardHandler), store.NewMemory(store.Limits{}).Node("n")
	srv := gateway.NewServer(gateway.Config{OpsOnOwnListener: true, Profiles: true}, hub.New(s, bridgetest.History{}, hub.Config{}, log), s, nil, nil, prometheus.NewRegistry(), log)
	d := &Service{deps: Deps{Server: srv, Feed: NewFeed("n")}, log: log}
	d.serve()
	d.serveConsole()
	t.Cleanup(func() {
		_ = d.Close(context.Background())
		_ = srv.Shutdown(context.Background(), 0)
	})
	callers, operators := srv.Routes()
	const callersFile = "../contract/openapi.json"
	for file, routes := range map[string][]*echo.Route{callersFile: callers, "../contract/openapi_ops.json": operators} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		if file == callersFile {
			names = []string{"GET /socket.io/", "POST /socket.io/"} // served before any route, as gateway's own test shows
		}
		for _, r := range routes {
			names = append(names, r.Method+" "+contract.Route(r.Path))
		}
		slices.Sort(names)
		if d := cmp.Diff(names, contract.Open(t, text).Operations()); d != "" {
			t.Errorf("%s and routes (-routes +contract):\n%s", file, d)
		}
	}
}
