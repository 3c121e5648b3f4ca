package subscriber

import (
	"net"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
)

func embeddedConfig(t testing.TB) Config {
	cfg := DefaultConfig()
	cfg.Embedded.Addr, cfg.Embedded.StoreDir = "127.0.0.1:0", t.TempDir()
	return cfg
}

func TestEmbeddedKeepsItsMessages(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t)
	for want := range uint64(2) { // the second time from the same directory
		c, err := Open(t.Context(), cfg, "a", discard)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ready(); err != nil {
			t.Errorf("Ready right after Open: %v", err)
		}
		o, err := c.Publish(t.Context(), Publication{Topic: "t", Body: []byte("{}")})
		if err != nil || o.Seq != want+1 {
			t.Errorf("Publish = %v, %v; want sequence %d", o, err, want+1)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func TestEmbeddedIsReachedByPublishers(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t)
	cfg.User, cfg.Password = "pub", "secret"
	c := open(t, cfg, "a", discard)
	url := "nats://" + c.embedded.server.Addr().String()
	if _, err := nats.Connect(url, nats.MaxReconnects(0)); err == nil {
		t.Error("a publisher without password was let in")
	}
	nc, err := nats.Connect(url, nats.UserInfo("pub", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	ack, err := nc.Request("codewar.t", []byte("{}"), ackLimit)
	if err != nil || !strings.Contains(string(ack.Data), `"stream":"CODEWAR"`) {
		t.Errorf("ack %v, %v", ack, err)
	}
}

func TestEmbeddedLogin(t *testing.T) {
	t.Parallel()
	cfg := embeddedConfig(t)
	cfg.Embedded.User, cfg.Embedded.Password = "local", "secret"
	var book logBook
	c := open(t, cfg, "a", book.logger())
	if err := c.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	url := "nats://" + c.embedded.server.Addr().String()
	for _, login := range [][]nats.Option{nil, {nats.UserInfo("local", "other")}, {nats.Token("secret")}} {
		if nc, err := nats.Connect(url, append(login, nats.MaxReconnects(0))...); err == nil {
			nc.Close()
			t.Error("a client without the login was let in")
		}
	}
	cfg.Embedded.Addr = c.embedded.server.Addr().String()
	p, err := OpenPublisher(cfg, discard) // as the commands do
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Publish(t.Context(), Publication{Topic: "t", Body: []byte("{}")}); err != nil {
		t.Error(err)
	}
	if book.count("asks for a login") != 1 || book.count("secret") > 0 {
		t.Errorf("log:\n%s", book.text.String())
	}
	var openBook logBook
	open(t, embeddedConfig(t), "b", openBook.logger())
	if openBook.count(`level=WARN msg="embedded nats asks for no login, see nats.embedded.user"`) != 1 || openBook.count("every process on this machine") != 1 {
		t.Errorf("log:\n%s", openBook.text.String())
	}
}

// The client library calls a server that it reaches inside the process by its default port.
func TestEmbeddedSaysWhereItIs(t *testing.T) {
	t.Parallel()
	var book logBook
	c := open(t, embeddedConfig(t), "a", book.logger())
	url := "nats://" + c.embedded.server.Addr().String()
	if got := c.Status().URL; got != url {
		t.Errorf("Status has the URL %q, want %q", got, url)
	}
	if said := `msg="nats connected" component=subscriber server=` + url + "\n"; book.count(said) != 1 {
		t.Errorf("log without %q:\n%s", said, book.text.String())
	}
}

func TestEmbeddedSaysWhichSettingIsInTheWay(t *testing.T) {
	t.Parallel()
	first := embeddedConfig(t)
	open(t, first, "a", discard)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	other := embeddedConfig(t)
	other.Embedded.Addr = taken.Addr().String()
	exposed := embeddedConfig(t)
	exposed.Embedded.Addr = "0.0.0.0:0"
	file := embeddedConfig(t)
	file.Embedded.StoreDir = "/dev/null/data"
	for name, tt := range map[string]struct {
		cfg  Config
		want string
	}{
		"directory in use": {first, "NATS_EMBEDDED_STORE_DIR"},
		"port in use":      {other, "is taken"},
		"open to all":      {exposed, "NATS_TOKEN"},
		"no directory":     {file, "nats.embedded.store_dir"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := Open(t.Context(), tt.cfg, "b", discard)
			if err == nil {
				c.Close(t.Context())
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open: %v, want an error that names %s", err, tt.want)
			}
		})
	}
	// A start that failed holds nothing: the same directory, another port.
	other.Embedded.Addr = "127.0.0.1:0"
	open(t, other, "b", discard)
}
