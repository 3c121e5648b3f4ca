package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/apierror"
	"github.com/codewar/socketbridge/internal/metrics"
)

// Check is one thing that a ready node needs.
type Check struct {
	Name string
	// Err returns why it is missing, nil when it is there. Its text is for operators: it may name
	// addresses.
	Err func(context.Context) error
	// Degrades is set when the node is ready without it, with reduced service.
	Degrades bool
}

// health answers whether the process is alive and whether it can serve.
type health struct {
	checks  []Check
	serving atomic.Bool // false while starting and while leaving
}

// checkTimeout bounds one check.
const checkTimeout = time.Second

// processCheck is the reason of a node that is starting or leaving.
const processCheck = "process"

// publicReason replaces the text of a failed check for clients that are not operators.
const publicReason = "failed"

// messageRecords answers what happened to one message.
type messageRecords struct{ cfg Config }

func (r *messageRecords) handle(c echo.Context) error {
	at, err := bridge.ParseOffset(c.Param("offset"))
	if err != nil {
		return c.JSON(http.StatusBadRequest, apierror.New(err.Error(), apierror.InvalidOffset, map[string]any{"action": "message"}))
	}
	record, err := bridge.DeliveryRecord{}, bridge.ErrNoRecord
	if r.cfg.Records != nil {
		record, err = r.cfg.Records.Record(c.Request().Context(), at)
	}
	switch {
	case errors.Is(err, bridge.ErrNoRecord):
		return c.JSON(http.StatusNotFound, apierror.New("No trace: not read yet, or longer ago than the history goes back", apierror.NotFound, map[string]any{"action": "message", "offset": at}))
	case err != nil:
		return c.JSON(http.StatusServiceUnavailable, apierror.New("The store does not answer", apierror.Unavailable, map[string]any{"action": "message", "offset": at}))
	}
	return c.JSON(http.StatusOK, record)
}

// routes adds the routes for balancers. operator reports whether a request may see why a check
// failed; others see its name only.
func (h *health) routes(e *echo.Echo, operator func(*http.Request) bool) {
	e.GET("/livez", func(c echo.Context) error { return c.String(http.StatusOK, "ok\n") })
	e.GET("/readyz", func(c echo.Context) error { return h.ready(c, operator(c.Request())) })
}

func metricsHandler(metrics *prometheus.Registry) echo.HandlerFunc {
	return echo.WrapHandler(promhttp.HandlerFor(metrics, promhttp.HandlerOpts{Registry: metrics}))
}

// profiles adds the Go profiles, for a listener that only operators reach: they cost time and show
// the inside of the process. The command line is left out: it may contain a password.
func (s *Server) profiles() {
	s.Operate(http.MethodGet, "/debug/pprof/*", echo.WrapHandler(http.HandlerFunc(pprof.Index)))
	s.Operate(http.MethodGet, "/debug/pprof/profile", echo.WrapHandler(http.HandlerFunc(pprof.Profile)))
	s.Operate(http.MethodGet, "/debug/pprof/trace", echo.WrapHandler(http.HandlerFunc(pprof.Trace)))
}

// ready answers 200, or 503 and the failed checks, with their reasons when detailed.
func (h *health) ready(c echo.Context, detailed bool) error {
	reasons, degraded := h.reasons(c.Request().Context())
	if !detailed {
		for _, why := range []map[string]string{reasons, degraded} {
			for name := range why {
				why[name] = publicReason
			}
		}
	}
	status := http.StatusOK
	if len(reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	answer := map[string]any{"ready": len(reasons) == 0, "reasons": reasons}
	if len(degraded) > 0 {
		answer["degraded"] = degraded
	}
	return c.JSON(status, answer)
}

// reasons returns the failed checks with their reasons, and separately those that only degrade the
// node. The checks run at the same time, so that a slow one hides no other.
func (h *health) reasons(ctx context.Context) (reasons, degraded map[string]string) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	reasons, degraded = make(map[string]string), make(map[string]string)
	if !h.serving.Load() {
		reasons[processCheck] = "starting or leaving"
	}
	var (
		wg sync.WaitGroup
		mu sync.Mutex // guards reasons
	)
	for _, check := range h.checks {
		wg.Go(func() {
			if err := check.Err(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				if check.Degrades {
					degraded[check.Name] = err.Error()
				} else {
					reasons[check.Name] = err.Error()
				}
			}
		})
	}
	wg.Wait()
	return reasons, degraded
}

// Metrics of [health].
var (
	readyDesc = prometheus.NewDesc("bridge_ready", "1 when everything that the node needs to serve is there, as /readyz says, else 0.", nil, nil)
	checkDesc = prometheus.NewDesc("bridge_ready_check", "1 for each of those things that is there, else 0.", []string{"check"}, nil)
)

// Describe implements prometheus.Collector.
func (h *health) Describe(ch chan<- *prometheus.Desc) {
	ch <- readyDesc
	ch <- checkDesc
}

// Collect implements prometheus.Collector. All checks are made once for a scrape.
func (h *health) Collect(ch chan<- prometheus.Metric) {
	reasons, degraded := h.reasons(context.Background())
	show := func(d *prometheus.Desc, good bool, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, metrics.Truth(good), labels...)
	}
	show(readyDesc, len(reasons) == 0)
	show(checkDesc, reasons[processCheck] == "", processCheck)
	for _, c := range h.checks {
		show(checkDesc, reasons[c.Name] == "" && degraded[c.Name] == "", c.Name)
	}
}
