package main

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// command runs one command and returns what it printed.
func command(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs output
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if code := run(ctx, args, &out, &errs); code != want {
		t.Errorf("%s: exit status %d, want %d\n%s%s", strings.Join(args, " "), code, want, &out, &errs)
	}
	return out.String(), errs.String()
}

// listening runs "socketbridge listen" until it ends, and waits until it is connected.
func listening(t *testing.T, args ...string) (stdout, stderr *output, ended <-chan int) {
	t.Helper()
	stdout, stderr = new(output), new(output)
	status := make(chan int, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { status <- run(ctx, append([]string{"listen"}, args...), stdout, stderr); cancel() }()
	t.Cleanup(func() { cancel(); <-ctx.Done() })
	waitFor(t, "listen is connected", func() bool { return strings.Contains(stderr.String(), "connected to") })
	return stdout, stderr, status
}

// TestSendAndListen: what one command sends the other prints, over NATS and over
// HTTP, and the exit status tells what became of it.
func TestSendAndListen(t *testing.T) {
	clean(t)
	nats := "nats.embedded.addr=" + freeAddr(t)
	p := startProgram(t, "--set", nats, "--set", "drain.duration=0s")
	defer p.wait(t)
	for name, way := range map[string][]string{"NATS": {"--set", nats}, "HTTP": {"--url", p.url}} {
		t.Run(name, func(t *testing.T) {
			user := "user " + name
			send := func(want int, args ...string) (string, string) {
				t.Helper()
				return command(t, want, append(append([]string{"send", user}, args...), way...)...)
			}
			if out, errs := send(exitOffline, "verdict", `{"n":0}`); out != "" || errs != "socketbridge: the user is offline, nothing is kept; --queue keeps it\n" {
				t.Errorf("offline: %q, %q", out, errs)
			}
			if out, _ := send(exitOffline, "verdict", "--json"); !regexp.MustCompile(`^{"userId":"user ` + name + `","topic":"verdict","outcome":"offline","sockets":0,("offset":"\d+-\d+",)?"tookMs":[\d.]+}\n$`).MatchString(out) {
				t.Errorf("offline as JSON: %s", out)
			}
			if out, _ := send(exitStopped, "verdict", `{"n": 1, "who":"<ü>"}`, "--queue"); !regexp.MustCompile(`^queued: the user is offline and gets it later, offset \d{13}-\d+, [\d.]+ ms\n$`).MatchString(out) {
				t.Errorf("queued: %q", out)
			}
			got, said, ended := listening(t, user, "--url", p.url, "--count", "3")
			waitFor(t, "the queued message", func() bool { return strings.Count(got.String(), "\n") == 1 })
			if out, _ := send(exitStopped, "other.topic"); !regexp.MustCompile(`^pushed to 1 socket, offset \d{13}-\d+, [\d.]+ ms\n$`).MatchString(out) {
				t.Errorf("pushed: %q", out)
			}
			out, _ := send(exitStopped, "sure", "{\n}", "--ack", "--json")
			var receipt receiptJSON
			if err := json.Unmarshal([]byte(out), &receipt); err != nil || receipt.Outcome != "pushed" || receipt.Sockets != 1 || receipt.Acks == nil || *receipt.Acks != 1 || receipt.Offset == nil {
				t.Errorf("confirmed: %v, %s", err, out)
			}
			if code := <-ended; code != exitStopped {
				t.Errorf("listen: exit status %d: %s", code, said)
			}
			want := regexp.MustCompile(`^\d\d:\d\d:\d\d\.\d{3}  \d{13}-\d+ +verdict            {"n":1,"who":"<ü>"}
\d\d:\d\d:\d\d\.\d{3}  \d{13}-\d+ +other\.topic        {}
\d\d:\d\d:\d\d\.\d{3}  - +sure               {}
$`)
			if !want.MatchString(got.String()) {
				t.Errorf("listen printed\n%s", got)
			}
		})
	}
}

// TestSendFails: what cannot be sent is told as such, and nothing hangs.
func TestSendFails(t *testing.T) {
	clean(t)
	addr := freeAddr(t)
	_, errs := command(t, exitFailed, "send", "u", "t", "--set", "nats.embedded.addr="+addr)
	if !strings.Contains(errs, "not available") || !strings.Contains(errs, "--url") {
		t.Errorf("without NATS: %s", errs)
	}
	if _, errs = command(t, exitFailed, "send", "u", "t", "--url", "http://"+addr); !strings.Contains(errs, "connection refused") {
		t.Errorf("without a bridge: %s", errs)
	}
	if _, errs = command(t, exitFailed, "listen", "u", "--url", "http://"+addr); !strings.Contains(errs, "connection refused") {
		t.Errorf("listen without a bridge: %s", errs)
	}
}

func TestSendUsage(t *testing.T) {
	clean(t)
	for _, args := range [][]string{
		{"send"},
		{"send", "u"},
		{"send", "u", "t", "{}", "x"},
		{"send", "u", "t", "[]"},
		{"send", "u", "t", "{"},
		{"send", "u", "t", ""},
		{"send", "u", "connect"},
		{"send", "u", "a b"},
		{"send", "\x1b", "t"},
		{"send", "", "t"},
		{"send", "u", "t", `{"userId":"v"}`},
		{"send", "u", "t", `{"a":1,"a":2}`},
		{"send", "u", "t", "--timeout", "0s"},
		{"send", "u", "t", "--key", "k"},
		{"send", "u", "t", "--url", "localhost:3004"},
		{"send", "u", "t", "--url", "http://h/path"},
		{"listen"},
		{"listen", ""},
		{"listen", "a", "b"},
		{"listen", "u", "--after", "12"},
		{"listen", "u", "--count", "-1"},
		{"listen", "u", "--url", "ftp://h"},
		{"listen", "u", "--set", "http.addr=127.0.0.1:0"},
	} {
		if out, errs := command(t, exitUsage, args...); out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("%q: printed %q and %q, want one line of error", args, out, errs)
		}
	}
}

// TestPayloadOf: the payload is the argument, standard input or nothing.
func TestPayloadOf(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{"{}": nil, `{"a":1}`: {`{"a":1}`}, `{"in":1}`: {"-"}} {
		if got, err := payloadOf(args, strings.NewReader(`{"in":1}`)); err != nil || string(got) != want {
			t.Errorf("%q: %s, %v", args, got, err)
		}
	}
}

// TestListenComesBack: a listener whose bridge restarts goes on where it was.
func TestListenComesBack(t *testing.T) {
	clean(t)
	nats, here := "nats.embedded.addr="+freeAddr(t), freeAddr(t)
	p := startProgramAt(t, here, "--set", nats, "--set", "drain.duration=0s")
	got, said, ended := listening(t, "u", "--set", "http.addr="+here, "--count", "2", "--json")
	command(t, exitStopped, "send", "u", "t", `{"n":1}`, "--set", nats)
	waitFor(t, "the first event", func() bool { return strings.Count(got.String(), "\n") == 1 })
	p.wait(t)
	waitFor(t, "the loss", func() bool { return strings.Contains(said.String(), "connection lost, trying again: ") })
	dir, err := os.Getwd() // with the stream's files, to go on with
	if err != nil {
		t.Fatal(err)
	}
	again := startProgramAt(t, here, "--set", nats, "--set", "nats.embedded.store_dir="+dir+"/data")
	command(t, exitStopped, "send", "u", "t", `{"n":2}`, "--queue", "--set", nats)
	if code := <-ended; code != exitStopped {
		t.Errorf("exit status %d", code)
	}
	again.wait(t)
	var topics []string
	for line := range strings.Lines(got.String()) {
		var e eventJSON
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&e); err != nil || e.Offset == "" || time.Since(e.At) > time.Minute {
			t.Errorf("%v in %s", err, line)
		}
		topics = append(topics, e.Topic+string(e.Payload))
	}
	if d := cmp.Diff([]string{`t{"n":1}`, `t{"n":2}`}, topics); d != "" {
		t.Errorf("events (-want +got):\n%s", d)
	}
}

func TestOneLineJSON(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"{\n \"a\": 1.0e1}":  `{"a":1.0e1}`,
		"\"\u009b2J\u202e\"": `"\u009b2J\u202e"`,
		"\"\U000e0001ü\"":    `"\udb40\udc01ü"`,
		"not json\x1b":       `"not json\x1b"`,
	} {
		got := oneLineJSON([]byte(in))
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// TestSendWithEmbeddedLogin: the commands log in at the embedded server, also with a password from
// a file, and without it they are refused.
func TestSendWithEmbeddedLogin(t *testing.T) {
	clean(t)
	addr := "nats.embedded.addr=" + freeAddr(t)
	t.Setenv("NATS_EMBEDDED_USER", "local")
	t.Setenv("NATS_EMBEDDED_PASSWORD_FILE", secretFile(t, "of-the-file\n"))
	p := startProgram(t, "--set", addr, "--set", "drain.duration=0s")
	defer p.wait(t)
	if out, _ := command(t, exitStopped, "send", "u", "t", "{}", "--queue", "--set", addr); !strings.HasPrefix(out, "queued: ") {
		t.Errorf("send: %q", out)
	}
	if out, _ := command(t, exitStopped, "dead", "ls", "--set", addr); strings.Contains(out, "of-the-file") {
		t.Errorf("dead ls: %q", out)
	}
	t.Setenv("NATS_EMBEDDED_PASSWORD_FILE", "")
	t.Setenv("NATS_EMBEDDED_PASSWORD", "another")
	if _, errs := command(t, exitFailed, "send", "u", "t", "{}", "--set", addr); !strings.Contains(strings.ToLower(errs), "authorization violation") || strings.Contains(errs, "another") {
		t.Errorf("send with a wrong password: %q", errs)
	}
}
