package app

import (
	"context"
	"net/http"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway"
	"github.com/codewar/socketbridge/gateway/console"
	"github.com/codewar/socketbridge/gateway/hub"
	"github.com/codewar/socketbridge/gateway/publish"
	"github.com/codewar/socketbridge/internal/config"
	"github.com/codewar/socketbridge/subscriber"
)

// gatewayConfig returns the gateway's part of the configuration.
func gatewayConfig(cfg config.Config, authConfig gateway.AuthConfig) gateway.Config {
	sockets := cfg.Sockets.Config
	sockets.ReadTimeout = cfg.HTTP.ReadTimeout
	return gateway.Config{
		Sockets:           sockets,
		Origins:           gateway.Origins(cfg.Origins),
		ReadHeaderTimeout: cfg.HTTP.ReadHeaderTimeout,
		ReadTimeout:       cfg.HTTP.ReadTimeout,
		IdleTimeout:       cfg.HTTP.IdleTimeout,
		MaxHeader:         cfg.HTTP.MaxHeader,
		TrustedProxies:    cfg.HTTP.Proxies(),
		Connections:       gateway.ConnectionLimits{Most: cfg.HTTP.MaxConnections, Idle: cfg.HTTP.MaxIdleConnections, PerAddress: cfg.HTTP.MaxConnectionsPerAddress, Operators: cfg.Ops.MaxConnections},
		OpsOnOwnListener:  cfg.Ops.Addr != "",
		Profiles:          cfg.Ops.Pprof,
		Development:       cfg.PlainDevelopment(),
		Auth:              authConfig,
		TryIt:             tryIt(cfg),
		Publish: publish.Config{
			MaxBody: cfg.HTTP.MaxBody, BodyBytes: cfg.HTTP.BodyBytes, ReplyTimeout: cfg.HTTP.ReplyTimeout,
			CallsPerSecond: cfg.HTTP.PayloadsPerSecond, CallBurst: cfg.HTTP.PayloadBurst,
			BytesPerSecond: cfg.HTTP.PayloadBytesPerSecond, BytesBurst: cfg.HTTP.PayloadBytesBurst,
		},
	}
}

// tryIt returns the try-it page. It is nil outside of a plain development start: the page needs the
// embedded NATS server and publishes without a key.
func tryIt(cfg config.Config) http.Handler {
	if !cfg.PlainDevelopment() {
		return nil
	}
	return console.TryIt{NATS: "nats://" + cfg.NATS.Embedded.Addr, SubjectPrefix: cfg.NATS.SubjectPrefix}
}

// receiver pushes forwarded messages to the sockets of this node. A message that clients have to
// confirm is forwarded alone, and answered after they have confirmed it or the time is over.
func receiver(hub *hub.Hub) func([]*bridge.Envelope, func([]bridge.Count)) {
	return func(batch []*bridge.Envelope, answer func([]bridge.Count)) {
		if len(batch) == 1 && batch[0].Ack > 0 {
			hub.PushAcked(batch[0], func(c bridge.Count) { answer([]bridge.Count{c}) })
			return
		}
		counts := make([]bridge.Count, len(batch))
		for i, e := range batch {
			counts[i] = hub.Push(e)
		}
		hub.Flush()
		answer(counts)
	}
}

// publisher publishes the messages of /sendPayload and waits for their receipts.
func publisher(sub *subscriber.Client) publish.Publisher {
	return func(ctx context.Context, topic string, header map[string][]string, body []byte) (bridge.Receipt, error) {
		return sub.PublishForReceipt(ctx, subscriber.Publication{Topic: topic, Header: header, Body: body})
	}
}
