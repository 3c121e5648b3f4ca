package subscriber

import (
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the default is invalid: %v", err)
	}
	remote := func(c *Config) { c.URL = "nats://example.com" }
	tests := map[string]struct {
		change []func(*Config)
		want   string // what the error names; empty: valid
	}{
		"remote with replicas and tls":             {[]func(*Config){remote, func(c *Config) { c.Stream.Replicas = 3; c.TLS.CA = "ca.pem" }}, ""},
		"prefix of two tokens":                     {[]func(*Config){func(c *Config) { c.SubjectPrefix = "a.b" }}, ""},
		"prefix empty":                             {[]func(*Config){func(c *Config) { c.SubjectPrefix = "" }}, "nats.subject_prefix"},
		"prefix with wildcard":                     {[]func(*Config){func(c *Config) { c.SubjectPrefix = "a.>" }}, "nats.subject_prefix"},
		"prefix is ours":                           {[]func(*Config){func(c *Config) { c.SubjectPrefix = "bridge.x" }}, "nats.subject_prefix"},
		"prefix of public subjects":                {[]func(*Config){func(c *Config) { c.SubjectPrefix = "dead.x" }}, "nats.subject_prefix"},
		"prefix too long for the stream's name":    {[]func(*Config){func(c *Config) { c.SubjectPrefix = strings.Repeat("a", 60) }}, "nats.dead_letter.stream"},
		"receipt subjects":                         {[]func(*Config){func(c *Config) { c.ReceiptSubjects = []string{"a", "a.>", "*.b", ">"} }}, ""},
		"receipt subjects of NATS":                 {[]func(*Config){func(c *Config) { c.ReceiptSubjects = []string{"$JS.>"} }}, "nats.receipt_subjects"},
		"receipt subjects of publishers":           {[]func(*Config){func(c *Config) { c.ReceiptSubjects = []string{"codewar.x"} }}, "nats.receipt_subjects"},
		"receipt subjects of bridges":              {[]func(*Config){func(c *Config) { c.ReceiptSubjects = []string{"bridge.>"} }}, "nats.receipt_subjects"},
		"receipt subject that is none":             {[]func(*Config){func(c *Config) { c.ReceiptSubjects = []string{"a.>.b"} }}, "nats.receipt_subjects"},
		"receipt subject with an empty token":      {[]func(*Config){func(c *Config) { c.ReceiptSubjects = []string{"a..b"} }}, "nats.receipt_subjects"},
		"user and token":                           {[]func(*Config){func(c *Config) { c.User, c.Token = "u", "t" }}, "nats.user"},
		"password alone":                           {[]func(*Config){func(c *Config) { c.Password = "p" }}, "nats.password"},
		"half a key pair":                          {[]func(*Config){remote, func(c *Config) { c.TLS.Cert = "c.pem" }}, "nats.tls.cert"},
		"stream name":                              {[]func(*Config){func(c *Config) { c.Stream.Name = "a b" }}, "nats.stream.name"},
		"one name for both":                        {[]func(*Config){func(c *Config) { c.DeadLetter.Stream = "CODEWAR" }}, "nats.dead_letter.stream"},
		"no age":                                   {[]func(*Config){func(c *Config) { c.Stream.MaxAge = 0 }}, "nats.stream.max_age"},
		"no bytes":                                 {[]func(*Config){func(c *Config) { c.DeadLetter.MaxBytes = 0 }}, "nats.dead_letter.max_bytes"},
		"duplicates beyond age":                    {[]func(*Config){func(c *Config) { c.Stream.Duplicates = 48 * time.Hour }}, "nats.stream.duplicates"},
		"no replicas":                              {[]func(*Config){func(c *Config) { c.Stream.Replicas = 0 }}, "nats.stream.replicas"},
		"embedded on all addresses":                {[]func(*Config){func(c *Config) { c.Embedded.Addr = ":4222" }}, "NATS_TOKEN"},
		"embedded by name":                         {[]func(*Config){func(c *Config) { c.Embedded.Addr = "example.com:4222" }}, "NATS_TOKEN"},
		"embedded open with token":                 {[]func(*Config){func(c *Config) { c.Embedded.Addr = ":4222"; c.Token = "t" }}, ""},
		"embedded open with a login":               {[]func(*Config){func(c *Config) { c.Embedded.Addr = ":4222"; c.Embedded.User, c.Embedded.Password = "u", "p" }}, ""},
		"embedded user alone":                      {[]func(*Config){func(c *Config) { c.Embedded.User = "u" }}, "nats.embedded.password"},
		"embedded password alone":                  {[]func(*Config){func(c *Config) { c.Embedded.Password = "p" }}, "nats.embedded.user"},
		"two logins of the embedded":               {[]func(*Config){func(c *Config) { c.Token, c.Embedded.User, c.Embedded.Password = "t", "u", "p" }}, "nats.embedded.user"},
		"embedded localhost":                       {[]func(*Config){func(c *Config) { c.Embedded.Addr = "localhost:4222" }}, ""},
		"embedded without port":                    {[]func(*Config){func(c *Config) { c.Embedded.Addr = "127.0.0.1" }}, "nats.embedded.addr"},
		"embedded with tls":                        {[]func(*Config){func(c *Config) { c.TLS.CA = "ca.pem" }}, "nats.tls"},
		"embedded replicas":                        {[]func(*Config){func(c *Config) { c.Stream.Replicas = 3 }}, "nats.stream.replicas"},
		"embedded too small":                       {[]func(*Config){func(c *Config) { c.Embedded.MaxStore = 1 << 20 }}, "nats.embedded.max_store"},
		"sync always":                              {[]func(*Config){func(c *Config) { c.Embedded.Sync = "always" }}, ""},
		"sync nonsense":                            {[]func(*Config){func(c *Config) { c.Embedded.Sync = "sometimes" }}, "nats.embedded.sync"},
		"embedded settings do not matter remotely": {[]func(*Config){remote, func(c *Config) { c.Embedded = EmbeddedConfig{} }}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := DefaultConfig()
			for _, change := range tt.change {
				change(&c)
			}
			err := c.Validate()
			if tt.want == "" && err != nil {
				t.Errorf("Validate: %v, want nil", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Validate: %v, want an error that names %s", err, tt.want)
			}
		})
	}
}
