package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/config"
)

// target is the HTTP address of a bridge, with the credentials to call it.
type target struct {
	url string
	key bridge.Secret // of a caller or an operator; may be empty
	tls *tls.Config   // nil: the system's authorities
}

// publicTarget returns the public listener: the address of the flag or, without one, http.addr of
// the configuration on this machine.
func publicTarget(cmd *cobra.Command, flag string) (target, error) {
	if flag != "" {
		return namedTarget("--url", flag)
	}
	cfg, err := config.Load(cmd.Flags())
	if err != nil {
		return target{}, err
	}
	return localTarget("http.addr", cfg.HTTP.Addr, "--url", cfg.HTTP.TLS.Cert)
}

// opsTarget returns the listener of the operators' routes in the same way.
func opsTarget(cmd *cobra.Command, flag string) (target, error) {
	if flag != "" {
		return namedTarget("--ops-url", flag)
	}
	cfg, err := config.Load(cmd.Flags())
	switch {
	case err != nil:
		return target{}, err
	case !cfg.OperatorsRoutes():
		return target{}, usagef("the operators' routes are served nowhere: set ops.addr or ops.keys, or name another bridge with --ops-url")
	case cfg.Ops.Addr == "":
		return localTarget("http.addr", cfg.HTTP.Addr, "--ops-url", cfg.HTTP.TLS.Cert)
	case !cfg.Ops.TLS:
		return localTarget("ops.addr", cfg.Ops.Addr, "--ops-url", "")
	}
	return localTarget("ops.addr", cfg.Ops.Addr, "--ops-url", cfg.HTTP.TLS.Cert)
}

func namedTarget(flag, text string) (target, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return target{}, usagef("%s %q: must be http://host:port or https://host:port", flag, text)
	}
	return target{url: u.Scheme + "://" + u.Host}, nil
}

// localTarget returns the target of a bridge on this machine that listens on addr, with TLS if it has
// a certificate.
func localTarget(key, addr, flag, cert string) (target, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "0" {
		return target{}, usagef("%s %q says not where the bridge is: use %s", key, addr, flag)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	addr = net.JoinHostPort(host, port)
	if cert == "" {
		return target{url: "http://" + addr}, nil
	}
	trusted, err := trustOnly(cert)
	return target{url: "https://" + addr, tls: trusted}, err
}

// trustOnly trusts only the certificate in a PEM file, whatever host name the address has: the
// certificate has the public name, and commands connect to 127.0.0.1.
func trustOnly(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read http.tls.cert: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("read http.tls.cert %s: no certificate in it", file)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read http.tls.cert %s: %w", file, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	name := leaf.Subject.CommonName
	switch {
	case len(leaf.DNSNames) > 0:
		name = strings.Replace(leaf.DNSNames[0], "*", "any", 1)
	case len(leaf.IPAddresses) > 0:
		name = leaf.IPAddresses[0].String()
	}
	return &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}, nil
}

// loopback reports whether the target is on this machine.
func (t target) loopback() bool {
	u, err := url.Parse(t.url)
	return err == nil && config.IsLoopback(u.Hostname())
}

// httpError is an answer other than 2xx, with the bridge's error code and message.
type httpError struct {
	status        int
	code, message string
}

func (e *httpError) Error() string {
	text := fmt.Sprintf("HTTP %d: %s", e.status, cmp.Or(printable(e.message), http.StatusText(e.status)))
	if e.code != "" {
		text += " (" + printable(e.code) + ")"
	}
	return text
}

// maxAnswer limits the size of an answer, in bytes.
const maxAnswer = 64 << 20

// client returns an HTTP client for the target, and a function that closes its idle connections.
func (t target) client() (c *http.Client, closeIdle func()) {
	tr := &http.Transport{TLSClientConfig: t.tls, Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 64}
	return &http.Client{Transport: tr}, tr.CloseIdleConnections
}

// call sends a request and decodes a 2xx answer into a value. Any other answer is an [*httpError].
func (t target) call(ctx context.Context, c *http.Client, method, path string, body []byte, into any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, t.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if t.key != "" {
		req.Header.Set("Authorization", "Bearer "+t.key.Reveal())
	}
	res, err := c.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err // a url.Error quotes the whole URL, with user ids
		}
		return 0, fmt.Errorf("ask the bridge at %s: %w", t.url, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return res.StatusCode, fmt.Errorf("read answer of %s: %w", t.url, err)
	}
	if res.StatusCode/100 != 2 {
		var said struct{ Error, Code string }
		_ = json.Unmarshal(text, &said) // a proxy may have answered
		return res.StatusCode, &httpError{res.StatusCode, said.Code, said.Error}
	}
	if err := json.Unmarshal(text, into); err != nil {
		return res.StatusCode, fmt.Errorf("decode answer of %s: %w", t.url, err)
	}
	return res.StatusCode, nil
}
