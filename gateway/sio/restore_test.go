package sio

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/internal/metrics"
)

// TestRestoreReplaces: a client that comes back while its old connection still
// stands is given its socket; the old one ends before, and its end, however late,
// leaves the new one alone.
func TestRestoreReplaces(t *testing.T) {
	t.Parallel()
	r := &recorder{restore: func(pid, offset string) (Restored, bool) {
		return Restored{ID: "the-one", Data: offset}, pid == "known"
	}}
	s, url := newServer(t, Config{}, r)
	const auth = `{"pid":"known","offset":"1-1"}`
	old := joinWS(t, url, auth)
	first := r.socket(t, 0)
	for n := range 3 {
		joinWS(t, url, auth)
		next := r.socket(t, n+1)
		if next.ID() != "the-one" || next.PID() != "known" || !next.Recovered() || next.Data() != "1-1" {
			t.Errorf("socket %q %q %v %v", next.ID(), next.PID(), next.Recovered(), next.Data())
		}
	}
	old.wantEnd()
	<-first.Context().Done()
	want := []string{"connect"}
	for range 3 {
		want = append(want, "disconnect "+ReasonReplaced, "connect")
	}
	waitFor(t, func() bool { return len(r.lines()) == len(want) })
	if diff := cmp.Diff(want, r.lines()); diff != "" {
		t.Error(diff)
	}
	push(t, r.socket(t, 3), 0, 1) // the last one lives
	if s.Stats().Websocket != 1 {
		t.Errorf("stats %+v", s.Stats())
	}
}

// TestAdmit: a client that is not admitted gets CONNECT_ERROR and nothing else,
// and the Handler hears no more of it; nor is one let in by a Handler that panics.
func TestAdmit(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	r.admit = func(s *Socket) *Refusal {
		switch s.Auth().Token {
		case "good":
			s.SetData("known")
			return nil
		case "panic":
			panic("admit")
		}
		return &Refusal{Message: "No \"entry\"", Code: "CLOSED"}
	}
	s, url := newServer(t, Config{}, r)
	for auth, want := range map[string]string{
		`{"token":"bad"}`:   `4{"data":{"code":"CLOSED"},"message":"No \"entry\""}`,
		`{"token":"panic"}`: `4{"data":{"code":"INTERNAL_ERROR"},"message":"Internal error"}`,
	} {
		c := dialWS(t, url, "")
		if open, err := c.read(); !strings.HasPrefix(open, "0") {
			t.Fatalf("got %s %v, want OPEN", open, err)
		}
		c.send("40" + auth)
		if got, err := c.read(); got != "4"+want {
			t.Errorf("%s: got %s %v, want 4%s", auth, got, err, want)
		}
		c.wantEnd()
	}
	joinWS(t, url, `{"token":"good"}`)
	if data := r.socket(t, 0).Data(); data != "known" {
		t.Errorf("data %v", data)
	}
	if diff := cmp.Diff([]string{"connect"}, r.lines()); diff != "" {
		t.Error(diff)
	}
	if n := s.Stats(); n.Drops[ReasonRefused] != 2 || metrics.Value(s.metrics.panics) != 1 {
		t.Errorf("stats %+v", n)
	}
}

// TestRestoreAtOnce: many connections of one client at the same time end in one socket.
func TestRestoreAtOnce(t *testing.T) {
	t.Parallel()
	r := &recorder{restore: func(string, string) (Restored, bool) { return Restored{ID: "the-one"}, true }}
	s, url := newServer(t, Config{}, r)
	const n = 20
	for range n {
		dialWS(t, url, "").try(`40{"pid":"p","offset":"1-1"}`)
	}
	waitFor(t, func() bool { return s.Stats().Websocket == 1 })
	waitFor(t, func() bool { // each Connect but the last has its Disconnect before the next one
		lines := r.lines()
		for i, line := range lines {
			if strings.HasPrefix(line, "connect") != (i%2 == 0) {
				t.Fatalf("out of order: %q", lines)
			}
		}
		return len(lines)%2 == 1
	})
}

// TestRestoreRefused: what is not two strings of sane length is not even asked about.
func TestRestoreRefused(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	r.restore = func(pid, offset string) (Restored, bool) {
		r.note("restore %s %s", pid, offset)
		return Restored{}, false
	}
	_, url := newServer(t, Config{}, r)
	for _, auth := range []string{
		`{"pid":"p"}`, `{"offset":"1-1"}`, `{"pid":1,"offset":"1-1"}`, `{"pid":["p"],"offset":["1-1"]}`, `{"pid":"","offset":"x"}`,
		`{"pid":"` + strings.Repeat("p", 65) + `","offset":"1-1"}`, `{"pid":"p","offset":"` + strings.Repeat("1", 65) + `"}`,
	} {
		joinWS(t, url, auth)
	}
	s := r.socket(t, 6)
	if s.Recovered() || len(s.ID()) != 20 || len(s.PID()) != 24 {
		t.Errorf("socket %q %q %v", s.ID(), s.PID(), s.Recovered())
	}
	joinWS(t, url, `{"pid":"p","offset":"1-1"}`)
	r.socket(t, 7)
	if diff := cmp.Diff([]string{"restore p 1-1", "connect"}, r.lines()[7:]); diff != "" {
		t.Error(diff)
	}
}

// TestRestoreWaits: when the Handler does not let go of the old socket in time,
// the client gets a new one rather than two at once.
func TestRestoreWaits(t *testing.T) {
	t.Parallel()
	stuck := make(chan struct{})
	r := &recorder{
		restore: func(string, string) (Restored, bool) { return Restored{ID: "the-one"}, true },
		connect: func(s *Socket) {
			if s.ID() == "the-one" {
				<-stuck
			}
		},
	}
	_, url := newServer(t, Config{}, r)
	joinWS(t, url, `{"pid":"p","offset":"1-1"}`)
	waitFor(t, func() bool { return len(r.lines()) == 1 })
	start := time.Now()
	joinWS(t, url, `{"pid":"p","offset":"1-1"}`)
	if s := r.socket(t, 0); s.ID() == "the-one" || s.Recovered() {
		t.Error("two sockets of one id")
	}
	if took := time.Since(start); took < restoreTimeout {
		t.Errorf("after %v", took)
	}
	close(stuck)
}
