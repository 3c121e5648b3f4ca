package main

import (
	"context"
	"errors"
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
	"github.com/codewar/socketbridge/internal/config"
)

// tracing follows messages.
type tracing struct {
	tracer trace.Tracer
	ratio  float64
	stop   func(context.Context) error // sends what is left
}

// openTracing begins to send spans, or returns nil when none are wanted. It does not
// wait for the collector: what that does not take is lost, and said.
func openTracing(ctx context.Context, cfg config.Traces, node bridge.NodeID, log *slog.Logger) (*tracing, error) {
	if cfg.Endpoint == "" {
		return nil, nil
	}
	u, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("traces.endpoint: %w", err)
	}
	if strings.Trim(u.Path, "/") == "" { // as OTEL_EXPORTER_OTLP_ENDPOINT is meant
		u.Path = "/v1/traces"
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(u.String()))
	if err != nil {
		return nil, fmt.Errorf("export traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "socketbridge"),
		attribute.String("service.version", version),
		attribute.String("service.instance.id", string(node)),
	), resource.WithFromEnv()) // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win
	if err != nil {
		return nil, fmt.Errorf("describe this node to traces.endpoint: %w", err)
	}
	log = log.With("component", "traces")
	var quiet bridge.Quiet
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { // the library's only way to say it
		if times, due := quiet.Due(time.Now()); due {
			log.LogAttrs(context.Background(), slog.LevelWarn, "spans were lost", slog.Any("err", err), slog.Int("times", times))
		}
	}))
	// The sampler takes all: who is followed is decided in begin, before anything is spent.
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about), sdk.WithSampler(sdk.AlwaysSample()))
	return &tracing{provider.Tracer("github.com/codewar/socketbridge"), cfg.Ratio, provider.Shutdown}, nil
}

// begin is nil when no message is followed.
func (t *tracing) begin() bridge.BeginSpan {
	if t == nil {
		return nil
	}
	return t.span
}

// span implements [bridge.BeginSpan].
func (t *tracing) span(name, parent string, at time.Time) bridge.Span {
	ctx := context.Background()
	switch p := parseTraceparent(parent); {
	case p == nil: // nobody has decided yet
		if t.ratio == 0 || t.ratio < 1 && rand.Float64() >= t.ratio {
			return nil
		}
	case !p.sampled:
		return nil
	default:
		ctx = trace.ContextWithRemoteSpanContext(ctx, p.context())
	}
	_, s := t.tracer.Start(ctx, name, trace.WithTimestamp(at), trace.WithSpanKind(kinds[name]))
	return span{s}
}

// kinds of spans that are not internal.
var kinds = map[string]trace.SpanKind{
	bridge.SpanPayload: trace.SpanKindServer,
	bridge.SpanPublish: trace.SpanKindProducer,
	bridge.SpanDeliver: trace.SpanKindConsumer,
	bridge.SpanForward: trace.SpanKindClient,
	bridge.SpanPush:    trace.SpanKindServer,
}

// traceparent is a valid one: `00-<32 hex digits>-<16>-<2>`.
type traceparent struct {
	trace, parent string
	sampled       bool
}

// parseTraceparent returns nil for what is none, as if it were not there. It does
// not allocate for one that is not sampled.
func parseTraceparent(s string) *traceparent {
	const size = len("00-") + 32 + len("-") + 16 + len("-00")
	if len(s) < size || s[2] != '-' || s[35] != '-' || s[52] != '-' || s[:2] == "ff" || s[:2] == "00" && len(s) != size || len(s) > size && s[size] != '-' {
		return nil
	}
	const hex = "0123456789abcdef"
	low := strings.IndexByte(hex, s[54])
	if low < 0 || strings.IndexByte(hex, s[53]) < 0 {
		return nil
	}
	if low&1 == 0 {
		return &notSampled
	}
	p := &traceparent{s[3:35], s[36:52], true}
	if !p.context().IsValid() {
		return nil
	}
	return p
}

var notSampled traceparent

func (p *traceparent) context() trace.SpanContext {
	id, err1 := trace.TraceIDFromHex(p.trace)
	parent, err2 := trace.SpanIDFromHex(p.parent)
	if errors.Join(err1, err2) != nil {
		return trace.SpanContext{}
	}
	return trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: parent, TraceFlags: trace.FlagsSampled, Remote: true})
}

// span is a [bridge.Span] of OpenTelemetry's.
type span struct{ trace.Span }

func (s span) Traceparent() string {
	c := s.SpanContext()
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-01"
}

func (s span) End(at time.Time, facts ...slog.Attr) {
	for _, f := range facts {
		v := f.Value.Resolve()
		if err, failed := v.Any().(error); failed {
			s.SetStatus(codes.Error, err.Error())
			continue
		}
		s.SetAttributes(fact(f.Key, v))
	}
	s.Span.End(trace.WithTimestamp(at))
}

func fact(key string, v slog.Value) attribute.KeyValue {
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
