package sio

import "testing"

// TestLibraryLetsGo: a client that has joined costs the library nothing, and what
// it showed of itself in its handshake is there in Connect and not kept after.
func TestLibraryLetsGo(t *testing.T) {
	t.Parallel()
	agents := make(chan string, 2)
	h := &recorder{connect: func(s *Socket) {
		agents <- s.Header().Get("User-Agent") + " " + s.RawQuery()
	}}
	s, url := newServer(t, Config{}, h)
	ws, poll := joinWS(t, url, ""), joinPolling(t, url, "")
	for range 2 {
		if got := <-agents; len(got) < len("x EIO=4&transport=polling") {
			t.Errorf("Connect saw %q of the request", got)
		}
	}
	waitFor(t, func() bool { return s.library.io.Sockets().Sockets().Len() == 0 })
	for i := range 2 {
		sock := h.socket(t, i)
		waitFor(t, func() bool { return sock.Header() == nil && sock.RawQuery() == "" })
		if err := sock.Emit("still", "here", nil); err != nil {
			t.Errorf("Emit: %v", err)
		}
	}
	ws.want(`42["still"`)
	if got := poll.events(1); len(got) != 1 {
		t.Errorf("polling got %q", got)
	}
}
