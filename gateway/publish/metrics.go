package publish

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/metrics"
)

// answerCounts counts the answers of /sendPayload by HTTP status.
type answerCounts map[int]prometheus.Counter // read-only after newAnswerCounts

// otherStatus counts statuses that an answer should never have.
const otherStatus = 0

func newAnswerCounts(reg prometheus.Registerer) answerCounts {
	a := make(answerCounts)
	for _, status := range []int{
		http.StatusOK, http.StatusAccepted, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusGatewayTimeout, otherStatus,
	} {
		name := strconv.Itoa(status)
		if status == otherStatus {
			name = "other"
		}
		a[status] = metrics.Counter(reg, "bridge_payload_requests_total", "Calls of /sendPayload, by the HTTP status of the answer.", "status", name)
	}
	return a
}

func (a answerCounts) count(status int) {
	n := a[status]
	if n == nil {
		n = a[otherStatus]
	}
	n.Inc()
}

// measured observes how long a publisher takes.
func measured(reg prometheus.Registerer, publisher Publisher) Publisher {
	seconds := promauto.With(reg).NewHistogramVec(metrics.Histogram("bridge_payload_seconds", "Time from putting a /sendPayload message into the stream to its receipt, by result.", 0.0001, 2.5, 12), []string{"result"})
	ok, failed := seconds.WithLabelValues("ok"), seconds.WithLabelValues("error")
	return func(ctx context.Context, topic string, header map[string][]string, body []byte) (bridge.Receipt, error) {
		began := time.Now()
		receipt, err := publisher(ctx, topic, header, body)
		result := ok
		if err != nil {
			result = failed
		}
		result.Observe(time.Since(began).Seconds())
		return receipt, err
	}
}
