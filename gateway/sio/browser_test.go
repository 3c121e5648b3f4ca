package sio

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/codewar/socketbridge/gateway/siotest"
)

// comparingPage keeps the texts of events as they come, on either transport, until
// the last, and reports them.
const comparingPage = `<!DOCTYPE html><script src="/client.js"></script><script>
for (const transport of ['websocket', 'polling']) {
  const socket = io({ transports: [transport], forceNew: true });
  const raw = [];
  socket.io.on('open', () => socket.io.engine.on('packet', ({ type, data }) => {
    if (type === 'message' && data[0] === '2') raw.push(data);
  }));
  socket.on('last', () => fetch('/report/' + transport, { method: 'POST', body: JSON.stringify(raw) }));
}
</script>`

// TestBrowser: Chromium, which asks for compression on both transports of its own
// accord, gets it, and in it the same bytes as were sent.
func TestBrowser(t *testing.T) {
	t.Parallel()
	var packets []*Packet
	var want []string
	for n := range 100 {
		payload := verdict(n * n * 3)
		if n%10 == 0 {
			payload = []byte(strings.ReplaceAll(string(payload), "PASSED", `é\u00e9 \"✓\" 𝄞`))
		}
		packets = append(packets, EventPacket("submissionUpdate", payload, fmt.Sprint("1-", n)))
	}
	packets = append(packets, EventPacket("last", []byte(`{}`), ""))
	for _, p := range packets {
		want = append(want, p.String())
	}
	r := &recorder{connect: func(s *Socket) {
		for _, p := range packets {
			if err := s.Push(p); err != nil {
				t.Errorf("push: %v", err)
			}
		}
	}}
	s, _ := newServer(t, Config{CompressAbove: 1000}, r)

	reports := make(chan string, 2)
	var mu sync.Mutex
	zipped := false // guarded by mu
	mux := http.NewServeMux()
	mux.HandleFunc("/socket.io/", func(w http.ResponseWriter, req *http.Request) {
		s.ServeHTTP(w, req)
		mu.Lock()
		defer mu.Unlock()
		zipped = zipped || w.Header().Get("Content-Encoding") == "gzip"
	})
	mux.HandleFunc("/client.js", func(w http.ResponseWriter, req *http.Request) { http.ServeFile(w, req, siotest.Script()) })
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, comparingPage)
	})
	mux.HandleFunc("POST /report/{transport}", func(w http.ResponseWriter, req *http.Request) {
		var got []string
		if err := json.NewDecoder(req.Body).Decode(&got); err != nil || len(got) != len(want) {
			t.Errorf("%s: %d events, %v, want %d", req.PathValue("transport"), len(got), err, len(want))
		}
		for i := range min(len(got), len(want)) {
			if got[i] != want[i] {
				t.Errorf("%s: event %d is %.80q…, want %.80q…", req.PathValue("transport"), i, got[i], want[i])
				break
			}
		}
		reports <- req.PathValue("transport")
	})
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	siotest.Browse(t, web.URL)
	for range 2 {
		select {
		case <-reports:
		case <-time.After(30 * time.Second):
			t.Fatalf("the page has not reported; the server saw %q", r.lines())
		}
	}
	for i := range 2 {
		sock := r.socket(t, i)
		c := sock.conn
		c.mu.Lock()
		if c.link != nil && !c.link.deflates {
			t.Error("not compressed on websocket")
		}
		c.mu.Unlock()
	}
	mu.Lock()
	defer mu.Unlock()
	if !zipped {
		t.Error("not compressed when polling")
	}
}
