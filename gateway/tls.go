package gateway

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/internal/metrics"
)

// certificateCheck is how often the files of a certificate are read. Notifications of the file system
// are less reliable: containers replace such files by renaming a directory above them.
const certificateCheck = 10 * time.Second

// Certificate is the server's certificate and key, a pair of PEM files. They are read again when they
// change, so that renewing them needs no restart and closes no connection.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	current           atomic.Pointer[tls.Certificate]
	seen              [sha256.Size]byte // of both files as last read; owned by Watch
}

// OpenCertificate reads the pair. The caller runs [Certificate.Watch].
func OpenCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log.With("component", "gateway")}
	pair, err := c.read()
	if err != nil {
		return nil, err
	}
	c.use(pair)
	return c, nil
}

// Watch reads the files again and again until ctx ends.
func (c *Certificate) Watch(ctx context.Context) {
	tick := time.NewTicker(certificateCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.renew()
		case <-ctx.Done():
			return
		}
	}
}

// renew uses files that have changed. An unusable or expired pair is logged once and not used.
func (c *Certificate) renew() {
	before := c.seen
	pair, err := c.read()
	if c.seen == before {
		return
	}
	if err == nil && time.Now().After(pair.Leaf.NotAfter) {
		err = fmt.Errorf("expired at %v", pair.Leaf.NotAfter)
	}
	if err != nil {
		c.log.Warn("certificate files have changed but are not usable, the old pair stays", "err", err)
		return
	}
	c.use(pair)
}

// read reads the pair and stores a hash of it, or of the error, in seen.
func (c *Certificate) read() (*tls.Certificate, error) {
	cert, err := os.ReadFile(c.certFile)
	if err != nil {
		c.seen = sha256.Sum256([]byte(err.Error()))
		return nil, fmt.Errorf("http.tls.cert: %w", err)
	}
	key, err := os.ReadFile(c.keyFile)
	if err != nil {
		c.seen = sha256.Sum256([]byte(err.Error()))
		return nil, fmt.Errorf("http.tls.key: %w", err)
	}
	c.seen = sha256.Sum256(append(cert, key...))
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("http.tls.cert and http.tls.key: %w", err)
	}
	return &pair, nil
}

func (c *Certificate) use(pair *tls.Certificate) {
	c.current.Store(pair)
	c.log.Info("certificate in use", "names", pair.Leaf.DNSNames, "not_after", pair.Leaf.NotAfter)
	if time.Now().After(pair.Leaf.NotAfter) {
		c.log.Warn("certificate has expired: browsers will not connect", "not_after", pair.Leaf.NotAfter)
	}
}

// Over adds TLS to the connections of l. Only HTTP/1.1 is offered: a WebSocket needs it, and a client
// that polls over HTTP/2 would open a second connection for it.
func (c *Certificate) Over(l net.Listener) net.Listener {
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current.Load(), nil
		},
	})
}

// Measure registers when the certificate expires.
func (c *Certificate) Measure(reg prometheus.Registerer) {
	metrics.Gauge(reg, "bridge_http_certificate_expiry_timestamp_seconds", "When the certificate in use expires, in Unix time. Only with http.tls.",
		func() int64 { return c.current.Load().Leaf.NotAfter.Unix() })
}
