package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats.go/jetstream"
)

// Risks reads the settings of the stream, and returns a sentence for each one that may lose messages
// before a bridge has read them. It creates nothing, and returns nil when the stream does not
// exist. It fails when NATS is not available.
func Risks(ctx context.Context, cfg Config, log *slog.Logger) ([]string, error) {
	v, err := dialCLI(cfg, "check", log)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	stream, err := v.js.Stream(ctx, v.cfg.Stream.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look up stream %s: %w", v.cfg.Stream.Name, fault(ctx, err))
	}
	return risks(mainConfig(v.cfg), stream.CachedInfo()), nil
}

// risks lists the risks of one stream, with what to do.
func risks(want jetstream.StreamConfig, is *jetstream.StreamInfo) (list []string) {
	have := is.Config
	when := func(holds bool, format string, args ...any) {
		if holds {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	when(have.MaxMsgs > 0, "max_msgs is %d: with more, the oldest messages go unread; remove it", have.MaxMsgs)
	when(have.MaxMsgsPerSubject > 0, "max_msgs_per_subject is %d: with more in a topic, the oldest messages go unread; remove it", have.MaxMsgsPerSubject)
	when(have.MaxBytes > 0 && (want.MaxBytes <= 0 || have.MaxBytes < want.MaxBytes), "max_bytes is %d, less than configured: with more, the oldest messages go unread; raise it", have.MaxBytes)
	when(have.MaxAge > 0 && have.MaxAge < want.MaxAge, "max_age is %v, less than configured: messages go unread when no bridge runs for longer; raise it", have.MaxAge)
	when(have.Discard == jetstream.DiscardNew, "discard is new: when the stream is full, publishers are refused; set it to old")
	when(have.Storage == jetstream.MemoryStorage, "storage is memory: messages are lost with the server; set it to file")
	when(have.Replicas <= 1 && is.Cluster != nil && is.Cluster.Name != "", "replicas is 1 on a cluster: messages are lost with one server, and wait while it is away; set it to 3")
	when(want.AllowDirect && !have.AllowDirect, "allow_direct is false: one server answers for all messages that have left memory; set it to true")
	return list
}
