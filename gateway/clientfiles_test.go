package gateway

import (
	"compress/gzip"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/codewar/socketbridge/internal/testutil/metricstest"
)

// TestClientFiles: the files of the stock client are served as Socket.IO serves them, to
// pages of every origin, and a request for one is no handshake.
func TestClientFiles(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	srv := countingServer(t, reg, Config{Origins: Origins{"https://app.example"}}, contractStore{}, nil)
	get := func(method, target string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, target, nil)
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Add(name, value)
		}
		w := httptest.NewRecorder()
		srv.http.Handler.ServeHTTP(w, r)
		return w
	}
	const script, sourceMap = "application/javascript; charset=utf-8", "application/json; charset=utf-8"
	kinds := map[string]string{ // as CLIENT_FILES of socket.io's dist/index.js
		"socket.io.js": script, "socket.io.js.map": sourceMap, "socket.io.min.js": script, "socket.io.min.js.map": sourceMap,
		"socket.io.esm.min.js": script, "socket.io.esm.min.js.map": sourceMap, "socket.io.msgpack.min.js": script, "socket.io.msgpack.min.js.map": sourceMap,
	}
	if len(clientFiles) != len(kinds) {
		t.Errorf("%d files are embedded, want %d", len(clientFiles), len(kinds))
	}
	var tag string
	for name, kind := range kinds {
		text, err := os.ReadFile(filepath.Join("client-dist", name))
		if err != nil {
			t.Fatal(err)
		}
		res := get("GET", "/socket.io/"+name+"?v=1")
		h := res.Header()
		tag = h.Get("ETag")
		if res.Code != 200 || res.Body.String() != string(text) || h.Get("Content-Type") != kind || h.Get("Cache-Control") != "public, max-age=0" ||
			!strings.HasPrefix(tag, `"4.8.`) || h.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d with %d of %d bytes, %v", name, res.Code, res.Body.Len(), len(text), h)
		}
		res = get("GET", "/socket.io/"+name, "Accept-Encoding: br, gzip;q=0.5")
		if h := res.Header(); h.Get("Content-Encoding") != "gzip" || !strings.Contains(strings.Join(h.Values("Vary"), ","), "Accept-Encoding") {
			t.Fatalf("%s: gzip was accepted, got %v", name, h)
		}
		unzipped, err := gzip.NewReader(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(unzipped); err != nil || string(got) != string(text) {
			t.Errorf("%s: %d bytes compressed (%v), want %d", name, len(got), err, len(text))
		}
	}
	for value, status := range map[string]int{
		tag: 304, "W/" + tag: 304, `"4.0.0", W/` + tag: 304, "*": 304, `"4.0.0"`: 200, "4.8": 200, "": 200,
	} {
		res := get("GET", "/socket.io/socket.io.js", "If-None-Match: "+value)
		if res.Code != status || status == 304 && (res.Body.Len() > 0 || res.Header().Get("ETag") != tag) {
			t.Errorf("If-None-Match %s: %d with %d bytes, want %d", value, res.Code, res.Body.Len(), status)
		}
	}
	for origin, allowed := range map[string]string{"https://app.example": "https://app.example", "https://other.example": "", "": ""} {
		res := get("GET", "/socket.io/socket.io.js", "Origin: "+origin)
		if got := res.Header().Get("Access-Control-Allow-Origin"); res.Code != 200 || got != allowed {
			t.Errorf("origin %q: %d, allowed %q", origin, res.Code, got)
		}
	}
	for _, target := range []string{"/socket.io/LICENSE", "/socket.io/socket.io.mjs", "/socket.io/..%2fclientfiles.go", "/socket.io/client-dist/socket.io.js", "/socket.io/socket.io.js/"} {
		if res := get("GET", target); res.Code != 404 {
			t.Errorf("%s: %d", target, res.Code)
		}
	}
	for _, res := range []*httptest.ResponseRecorder{get("HEAD", "/socket.io/socket.io.js"), get("HEAD", "/socket.io/socket.io.js", "If-None-Match: "+tag)} {
		if h := res.Header(); res.Code == 200 && h.Get("Content-Length") == "" || h.Get("ETag") != tag {
			t.Errorf("HEAD: %d %v", res.Code, h)
		}
	}
	if got := metricstest.Value(t, reg, "bridge_gateway_connects_total"); got != 0 {
		t.Errorf("%v connections were counted", got)
	}
}

// TestClientFileIsZippedOnce: compressing takes milliseconds, which a request must not
// cost each time.
func TestClientFileIsZippedOnce(t *testing.T) {
	t.Parallel()
	f := clientFiles["socket.io.js.map"]
	if a, b := f.zipped(), f.zipped(); &a[0] != &b[0] {
		t.Error("the file was compressed again")
	}
}
