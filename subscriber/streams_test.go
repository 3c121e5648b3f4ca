package subscriber

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/codewar/socketbridge/subscriber/natstest"
)

func TestCovers(t *testing.T) {
	tests := []struct {
		filter, want string
		ok           bool
	}{
		{"codewar.>", "codewar.>", true},
		{">", "codewar.>", true},
		{"*.>", "codewar.>", true},
		{"a.>", "a.b.>", true},
		{"a.*.>", "a.b.>", true},
		{"codewar.*", "codewar.>", false},
		{"codewar", "codewar.>", false},
		{"other.>", "codewar.>", false},
		{"codewar.x.>", "codewar.>", false},
		{"codewar.*.>", "codewar.>", false},
	}
	for _, tt := range tests {
		if got := server.SubjectMatchesFilter(tt.want, tt.filter); got != tt.ok {
			t.Errorf("covers(%q, %q) = %v, want %v", tt.filter, tt.want, got, tt.ok)
		}
	}
}

// create makes a stream before any client does.
func create(t testing.TB, s *natstest.Instance, cfg jetstream.StreamConfig) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(s.Connect())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	return js
}

func TestExistingStreamIsAdopted(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	js := create(t, s, jetstream.StreamConfig{Name: "CODEWAR", Subjects: []string{"codewar.>"}, MaxAge: time.Hour})
	var book logBook
	c := open(t, testConfig(s), "a", book.logger())
	waitFor(t, "ready", func() bool { return c.Ready() == nil })
	for range 3 { // it is looked at again and again
		if _, err := c.streams.ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if got := book.count("using it as it is"); got != 1 {
		t.Errorf("said %d times that settings differ, want once", got)
	}
	if book.count("max_age is 1h0m0s, configured 24h0m0s") != 1 {
		t.Error("the line does not name max_age:\n", book.text.String())
	}
	stream, err := js.Stream(t.Context(), "CODEWAR")
	if err != nil || stream.CachedInfo().Config.MaxAge != time.Hour {
		t.Errorf("the stream was changed: %v, %v", stream.CachedInfo().Config, err)
	}
}

func TestUnusableStreamIsNamed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		cfg  jetstream.StreamConfig
		want string
	}{
		"subjects":  {jetstream.StreamConfig{Name: "CODEWAR", Subjects: []string{"codewar.*"}}, `do not cover "codewar.>"`},
		"retention": {jetstream.StreamConfig{Name: "CODEWAR", Subjects: []string{"codewar.>"}, Retention: jetstream.WorkQueuePolicy}, "must be limits"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Server(t)
			js := create(t, s, tt.cfg)
			c := open(t, testConfig(s), "a", discard)
			waitFor(t, "the fault", func() bool { return errors.Is(c.Ready(), errStream) })
			if err := c.Ready(); !strings.Contains(err.Error(), "CODEWAR") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Ready: %v, want it to name CODEWAR and %s", err, tt.want)
			}
			if err := js.DeleteStream(t.Context(), "CODEWAR"); err != nil { // an operator removes it
				t.Fatal(err)
			}
			c.streams.look()
			waitFor(t, "ready", func() bool { return c.Ready() == nil })
		})
	}
}

func TestDeletedStreamComesBack(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	c := ready(t, s, "a")
	before := c.streams.epoch()
	if err := c.js.DeleteStream(t.Context(), "CODEWAR"); err != nil {
		t.Fatal(err)
	}
	publish(t, c, 0, 1)
	waitFor(t, "a new epoch", func() bool { return c.streams.epoch() > before })
}

// TestStreamsThatMayLoseMessages: each setting with which messages go before they are read is named,
// in the log and to `check`; the settings that the bridge makes a stream with are none.
func TestStreamsThatMayLoseMessages(t *testing.T) {
	t.Parallel()
	fine := func() jetstream.StreamConfig {
		cfg := mainConfig(testConfig(natstest.Server(t)).withNames())
		cfg.Storage = jetstream.FileStorage
		return cfg
	}
	for name, tt := range map[string]struct {
		change  func(*jetstream.StreamConfig)
		cluster string
		want    string
	}{
		"none":                 {change: func(*jetstream.StreamConfig) {}},
		"max_msgs":             {change: func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 }, want: "max_msgs is 10"},
		"max_msgs_per_subject": {change: func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 9 }, want: "max_msgs_per_subject is 9"},
		"max_bytes":            {change: func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 10 }, want: "max_bytes is 1024"},
		"max_age":              {change: func(c *jetstream.StreamConfig) { c.MaxAge = time.Minute }, want: "max_age is 1m0s"},
		"discard":              {change: func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew }, want: "discard is new"},
		"storage":              {change: func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, want: "storage is memory"},
		"replicas":             {change: func(c *jetstream.StreamConfig) { c.Replicas = 1 }, cluster: "c", want: "replicas is 1"},
		"allow_direct":         {change: func(c *jetstream.StreamConfig) { c.AllowDirect = false }, want: "allow_direct is false"},
	} {
		want, have := fine(), fine()
		tt.change(&have)
		got := risks(want, &jetstream.StreamInfo{Config: have, Cluster: &jetstream.ClusterInfo{Name: tt.cluster}})
		if tt.want == "" && len(got) != 0 || tt.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], tt.want)) {
			t.Errorf("%s: %q", name, got)
		}
	}

	s := natstest.Server(t)
	if got, err := Risks(t.Context(), testConfig(s), discard); err != nil || got != nil {
		t.Errorf("without a stream: %q, %v", got, err)
	}
	create(t, s, jetstream.StreamConfig{Name: "CODEWAR", Subjects: []string{"codewar.>"}, MaxMsgsPerSubject: 5, AllowDirect: true})
	if got, err := Risks(t.Context(), testConfig(s), discard); err != nil || len(got) != 1 {
		t.Errorf("of the stream: %q, %v", got, err)
	}
	var book logBook
	c := open(t, testConfig(s), "a", book.logger())
	waitFor(t, "ready", func() bool { return c.Ready() == nil })
	if book.count("max_msgs_per_subject is 5") != 1 {
		t.Error("the log does not name it:\n", book.text.String())
	}
}
