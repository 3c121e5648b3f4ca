package subscriber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/bridge"
)

const (
	// apiLimit bounds one request to JetStream's API.
	apiLimit = 5 * time.Second
	// lookEvery is how often the state of the streams is read. It bounds how long a deleted stream
	// goes unnoticed while no message is published.
	lookEvery = 5 * time.Second
)

var (
	// errStream means that a stream exists but cannot serve.
	errStream = errors.New("stream cannot be used")
	errUnseen = errors.New("stream not seen yet")
)

// streams creates the stream of messages and the stream of dead letters, and reads their state. It
// does not change a stream that exists.
type streams struct {
	cfg  Config
	js   jetstream.JetStream
	conn *connection
	log  *slog.Logger
	kick chan struct{} // capacity 1: look now

	one   sync.Mutex    // held by adopt, so that two calls do not create a stream
	fresh chan struct{} // capacity 1: held by since

	mu      sync.Mutex // guards all below
	lineage *lineage   // of the main stream; nil: not known
	main    streamState
	mainErr error             // why the main stream cannot be used; nil when it can
	dead    streamState       // of the dead letters
	deadErr error             // the same for the stream of dead letters
	warned  map[string]string // by stream and kind, the settings that were logged last
}

// streamState is the last known state of a stream.
type streamState struct {
	stream  jetstream.Stream // to read messages with; nil: never seen
	created uint64           // in ms; zero: never seen
	epoch   uint64           // of its offsets
	begin   bridge.Offset    // of the epoch
	lineage *lineage
	last    uint64 // its last sequence

	first, messages, bytes uint64
	asked                  time.Time     // when it was asked for
	took                   time.Duration // to ask for it
}

func stateOf(stream jetstream.Stream, l *lineage, asked time.Time) streamState {
	info := stream.CachedInfo()
	created := uint64(info.Created.UnixMilli())
	return streamState{
		stream: stream, created: created, epoch: l.epoch(created), begin: l.begin(created), lineage: l, last: info.State.LastSeq,
		first: info.State.FirstSeq, messages: info.State.Msgs, bytes: info.State.Bytes,
		asked: asked, took: time.Since(asked),
	}
}

// reaches reports whether o is an offset of this stream, not beyond its end, and every
// message after o is kept.
func (s streamState) reaches(o bridge.Offset) bool {
	return s.lineage.continues(s.created, o) && o.Seq <= s.last && o.Seq+1 >= s.first
}

func newStreams(cfg Config, js jetstream.JetStream, conn *connection, log *slog.Logger) *streams {
	return &streams{
		cfg: cfg, js: js, conn: conn, log: log, kick: make(chan struct{}, 1), fresh: make(chan struct{}, 1),
		mainErr: errUnseen, deadErr: errUnseen, warned: make(map[string]string),
	}
}

// keep ensures both streams until ctx ends: after each change of the connection, after a call of look,
// and every lookEvery.
func (s *streams) keep(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var said string
	for {
		changed := s.conn.change()
		if err := s.ensureBoth(ctx); !errors.Is(err, bridge.ErrUnavailable) {
			said = s.report(ctx, err, said)
		}
		select {
		case <-tick.C:
		case <-s.kick:
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// report logs an error when it differs from the last one.
func (s *streams) report(ctx context.Context, err error, said string) string {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == said || ctx.Err() != nil {
		return said
	}
	if err != nil {
		s.log.Warn("streams are not ready", "err", err)
	} else {
		s.log.Info("streams are ready")
	}
	return text
}

// look makes keep read the state of the streams soon.
func (s *streams) look() { signal(s.kick) }

// err is nil when both streams could be used at the last look.
func (s *streams) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mainErr != nil {
		return s.mainErr
	}
	return s.deadErr
}

func (s *streams) epoch() uint64 { return s.state().epoch }

func (s *streams) state() streamState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.main
}

// since returns a state of the main stream that is not older than the call.
// Calls at the same time share one request.
func (s *streams) since(ctx context.Context) (streamState, error) {
	began := time.Now()
	select {
	case s.fresh <- struct{}{}:
		defer func() { <-s.fresh }()
	case <-ctx.Done():
		return streamState{}, context.Cause(ctx)
	}
	if now := s.state(); now.asked.After(began) {
		return now, nil
	}
	return s.ensure(ctx)
}

// ensureBoth creates the streams that do not exist, and returns the first error.
func (s *streams) ensureBoth(ctx context.Context) error {
	_, err := s.ensure(ctx)
	if deadErr := s.ensureDead(ctx); err == nil {
		err = deadErr
	}
	return err
}

// ensure creates the main stream if it does not exist, and returns its state.
func (s *streams) ensure(ctx context.Context) (streamState, error) {
	began := time.Now()
	stream, err := s.adopt(ctx, mainConfig(s.cfg))
	if errors.Is(err, bridge.ErrUnavailable) {
		return streamState{}, err // nothing was learned
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mainErr = err
	if stream != nil {
		s.main = stateOf(stream, s.lineage, began)
	}
	return s.main, err
}

// setLineage sets the epochs of the main stream.
func (s *streams) setLineage(l *lineage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lineage = l
	s.main.lineage, s.main.epoch, s.main.begin = l, l.epoch(s.main.created), l.begin(s.main.created)
}

// ensureDead does the same for the stream of dead letters. The intake does not wait for it.
func (s *streams) ensureDead(ctx context.Context) error {
	stream, err := s.adopt(ctx, s.deadConfig())
	if errors.Is(err, bridge.ErrUnavailable) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadErr = err
	if stream != nil {
		s.dead = stateOf(stream, nil, time.Now())
	}
	return err
}

func mainConfig(cfg Config) jetstream.StreamConfig {
	c := cfg.Stream
	return jetstream.StreamConfig{
		Name: c.Name, Subjects: []string{cfg.SubjectPrefix + ".>"},
		Description: "messages for sockets, see codewar/socketbridge",
		Storage:     jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: c.MaxAge, MaxBytes: c.MaxBytes, Duplicates: c.Duplicates, Replicas: c.Replicas, AllowDirect: true,
	}
}

func (s *streams) deadConfig() jetstream.StreamConfig {
	c := s.cfg.DeadLetter
	return jetstream.StreamConfig{
		Name: c.Stream, Subjects: []string{s.cfg.deadSubjects() + ">"},
		Description: "messages that broke the rules, with the reason",
		Storage:     jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardOld,
		MaxAge: c.MaxAge, MaxBytes: c.MaxBytes, Duplicates: min(2*time.Minute, c.MaxAge), Replicas: s.cfg.Stream.Replicas,
	}
}

// adopt returns the stream, and creates it when it does not exist.
func (s *streams) adopt(ctx context.Context, want jetstream.StreamConfig) (jetstream.Stream, error) {
	if err := s.conn.err(); err != nil {
		return nil, err
	}
	s.one.Lock()
	defer s.one.Unlock()
	ctx, cancel := s.conn.while(ctx)
	defer cancel()
	stream, err := s.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = s.js.CreateStream(ctx, want)
		switch {
		case errors.Is(err, jetstream.ErrStreamNameAlreadyInUse): // another node was first, with other settings
			stream, err = s.js.Stream(ctx, want.Name)
		case err == nil:
			s.log.Info("stream created", "stream", want.Name)
		}
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", want.Name, err)
	}
	have := stream.CachedInfo().Config
	if fault := unusable(want, have); fault != "" {
		return nil, fmt.Errorf("%w: %s %s", errStream, want.Name, fault)
	}
	if text := s.news(want.Name+" differs", differences(want, have)); text != "" {
		s.log.Warn("stream exists with other settings, using it as it is", "stream", want.Name, "differences", text)
	}
	if text := s.news(want.Name+" risks", risks(want, stream.CachedInfo())); text != "" {
		s.log.Warn("stream may lose messages before they are read", "stream", want.Name, "risks", text)
	}
	return stream, nil
}

// news returns the settings of an existing stream to log: the list, when it differs from
// the last one of its kind.
func (s *streams) news(kind string, settings []string) string {
	text := strings.Join(settings, ", ")
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.warned[kind] == text {
		return ""
	}
	s.warned[kind] = text
	return text
}

// unusable returns why a stream cannot have our messages, empty when it can.
func unusable(want, have jetstream.StreamConfig) string {
	all := want.Subjects[0]
	switch {
	case !slices.ContainsFunc(have.Subjects, func(s string) bool { return server.SubjectMatchesFilter(all, s) }):
		return fmt.Sprintf("has the subjects %q, which do not cover %q", have.Subjects, all)
	case have.Retention != jetstream.LimitsPolicy:
		return fmt.Sprintf("has %v retention, which removes messages before they are safe; it must be limits", have.Retention)
	case have.Sealed:
		return "is sealed"
	}
	return ""
}

// differences names the settings that are not as configured.
func differences(want, have jetstream.StreamConfig) (d []string) {
	differ := func(name string, want, have any) {
		if want != have {
			d = append(d, fmt.Sprintf("%s is %v, configured %v", name, have, want))
		}
	}
	differ("storage", want.Storage, have.Storage)
	differ("discard", want.Discard, have.Discard)
	differ("max_age", want.MaxAge, have.MaxAge)
	differ("max_bytes", want.MaxBytes, have.MaxBytes)
	differ("duplicates", want.Duplicates, have.Duplicates)
	differ("replicas", want.Replicas, have.Replicas)
	differ("allow_direct", want.AllowDirect, have.AllowDirect)
	return d
}
