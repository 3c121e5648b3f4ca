// Package tracing exports spans of messages to an OpenTelemetry collector.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/buildinfo"
)

// Config configures the export of spans.
type Config struct {
	Endpoint string  `mapstructure:"endpoint"` // of OTLP over HTTP; empty: no spans
	Ratio    float64 `mapstructure:"ratio"`    // of messages without a traceparent that are sampled, 0 to 1
}

// Tracer makes the spans of sampled messages. Safe for concurrent use.
type Tracer struct {
	tracer trace.Tracer
	ratio  float64

	// Shutdown sends the spans that are left.
	Shutdown func(context.Context) error
}

// Open returns a tracer, or nil without an endpoint. It does not wait for the collector: spans
// that the collector does not accept are lost, and logged.
func Open(ctx context.Context, cfg Config, node bridge.NodeID, log *slog.Logger) (*Tracer, error) {
	if cfg.Endpoint == "" {
		return nil, nil
	}
	u, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("traces.endpoint: %w", err)
	}
	if strings.Trim(u.Path, "/") == "" { // the meaning of OTEL_EXPORTER_OTLP_ENDPOINT
		u.Path = "/v1/traces"
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()))
	if err != nil {
		return nil, fmt.Errorf("export traces: %w", err)
	}
	process, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "socketbridge"),
		attribute.String("service.version", buildinfo.Version),
		attribute.String("service.instance.id", string(node)),
	), resource.WithFromEnv()) // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	if err != nil {
		return nil, fmt.Errorf("describe this node to traces.endpoint: %w", err)
	}
	log = log.With("component", "traces")
	var limiter bridge.LogLimiter
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { // the library has no other way to report errors
		if times, due := limiter.Due(time.Now()); due {
			log.LogAttrs(context.Background(), slog.LevelWarn, "spans were lost", slog.Any("err", err), slog.Int("times", times))
		}
	}))
	// The sampler takes every span: Begin has decided before a span costs anything.
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(process), sdk.WithSampler(sdk.AlwaysSample()))
	return &Tracer{provider.Tracer("github.com/codewar/socketbridge"), cfg.Ratio, provider.Shutdown}, nil
}

// BeginFunc returns [Tracer.Begin], or nil if t is nil.
func (t *Tracer) BeginFunc() bridge.BeginSpan {
	if t == nil {
		return nil
	}
	return t.Begin
}

// Begin implements [bridge.BeginSpan]. It returns nil for a message that is not sampled.
func (t *Tracer) Begin(name, traceparent string, at time.Time) bridge.Span {
	parent, decided := parseTraceparent(traceparent)
	switch {
	case decided && !parent.IsSampled():
		return nil
	case !decided && (t.ratio == 0 || t.ratio < 1 && rand.Float64() >= t.ratio):
		return nil
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), parent)
	_, s := t.tracer.Start(ctx, name, trace.WithTimestamp(at), trace.WithSpanKind(kinds[name]))
	return span{s}
}

// kinds are the kinds of spans that are not internal.
var kinds = map[string]trace.SpanKind{
	bridge.SpanPayload: trace.SpanKindServer,
	bridge.SpanPublish: trace.SpanKindProducer,
	bridge.SpanDeliver: trace.SpanKindConsumer,
	bridge.SpanForward: trace.SpanKindClient,
	bridge.SpanPush:    trace.SpanKindServer,
}

// parseTraceparent parses `00-<32 hex digits>-<16>-<2>`. It reports false for anything else, which
// counts as no traceparent. The context is empty if the sender does not sample; that case does not
// allocate.
func parseTraceparent(s string) (parent trace.SpanContext, ok bool) {
	const size = len("00-") + 32 + len("-") + 16 + len("-00")
	if len(s) < size || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" || s[:2] == "00" && len(s) != size || len(s) > size && s[size] != '-' {
		return parent, false
	}
	const hex = "0123456789abcdef"
	low := strings.IndexByte(hex, s[54])
	if low < 0 || strings.IndexByte(hex, s[53]) < 0 {
		return parent, false
	}
	if low&1 == 0 {
		return parent, true
	}
	id, err1 := trace.TraceIDFromHex(s[3:35])
	spanID, err2 := trace.SpanIDFromHex(s[36:52])
	if err1 != nil || err2 != nil {
		return parent, false
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: spanID, TraceFlags: trace.FlagsSampled, Remote: true}), true
}

// span is a [bridge.Span] of OpenTelemetry.
type span struct{ trace.Span }

func (s span) Traceparent() string {
	c := s.SpanContext()
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-01"
}

func (s span) End(at time.Time, attrs ...slog.Attr) {
	for _, a := range attrs {
		v := a.Value.Resolve()
		if err, failed := v.Any().(error); failed {
			s.SetStatus(codes.Error, err.Error())
			continue
		}
		s.SetAttributes(keyValue(a.Key, v))
	}
	s.Span.End(trace.WithTimestamp(at))
}

func keyValue(key string, v slog.Value) attribute.KeyValue {
	switch v.Kind() {
	case slog.KindInt64:
		return attribute.Int64(key, v.Int64())
	case slog.KindBool:
		return attribute.Bool(key, v.Bool())
	case slog.KindFloat64:
		return attribute.Float64(key, v.Float64())
	case slog.KindUint64:
		return attribute.Int64(key, int64(min(v.Uint64(), math.MaxInt64)))
	default:
		return attribute.String(key, v.String())
	}
}
