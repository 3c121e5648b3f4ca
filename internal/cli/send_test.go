package cli

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/codewar/socketbridge/internal/testutil/capture"
	"github.com/codewar/socketbridge/internal/testutil/launch"
	"github.com/codewar/socketbridge/internal/testutil/wait"
)

// listening runs "socketbridge listen" until it ends, and waits until it is connected.
func listening(t *testing.T, args ...string) (stdout, stderr *capture.Text, ended <-chan int) {
	t.Helper()
	stdout, stderr = new(capture.Text), new(capture.Text)
	status := make(chan int, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { status <- Run(ctx, append([]string{"listen"}, args...), stdout, stderr); cancel() }()
	t.Cleanup(func() { cancel(); <-ctx.Done() })
	wait.For(t, "listen is connected", func() bool { return strings.Contains(stderr.String(), "connected to") })
	return stdout, stderr, status
}

// TestSendAndListen: what one command sends the other prints, over NATS and over
// HTTP, and the exit status tells what became of it.
func TestSendAndListen(t *testing.T) {
	launch.Clean(t)
	nats := "nats.embedded.addr=" + launch.FreeAddr(t)
	p := launch.Start(t, Run, "--set", nats, "--set", "drain.duration=0s")
	defer p.Wait(t)
	for name, way := range map[string][]string{"NATS": {"--set", nats}, "HTTP": {"--url", p.URL}} {
		t.Run(name, func(t *testing.T) {
			user := "user " + name
			send := func(want int, args ...string) (string, string) {
				t.Helper()
				return launch.Command(t, Run, want, append(append([]string{"send", user}, args...), way...)...)
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
			got, said, ended := listening(t, user, "--url", p.URL, "--count", "3")
			wait.For(t, "the queued message", func() bool { return strings.Count(got.String(), "\n") == 1 })
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
	launch.Clean(t)
	addr := launch.FreeAddr(t)
	_, errs := launch.Command(t, Run, exitFailed, "send", "u", "t", "--set", "nats.embedded.addr="+addr)
	if !strings.Contains(errs, "not available") || !strings.Contains(errs, "--url") {
		t.Errorf("without NATS: %s", errs)
	}
	if _, errs = launch.Command(t, Run, exitFailed, "send", "u", "t", "--url", "http://"+addr); !strings.Contains(errs, "connection refused") {
		t.Errorf("without a bridge: %s", errs)
	}
	if _, errs = launch.Command(t, Run, exitFailed, "listen", "u", "--url", "http://"+addr); !strings.Contains(errs, "connection refused") {
		t.Errorf("listen without a bridge: %s", errs)
	}
}

func TestSendUsage(t *testing.T) {
	launch.Clean(t)
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
		if out, errs := launch.Command(t, Run, exitUsage, args...); out != "" || strings.Count(errs, "\n") != 1 {
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
	launch.Clean(t)
	nats, here := "nats.embedded.addr="+launch.FreeAddr(t), launch.FreeAddr(t)
	p := launch.StartAt(t, Run, here, "--set", nats, "--set", "drain.duration=0s")
	got, said, ended := listening(t, "u", "--set", "http.addr="+here, "--count", "2", "--json")
	launch.Command(t, Run, exitStopped, "send", "u", "t", `{"n":1}`, "--set", nats)
	wait.For(t, "the first event", func() bool { return strings.Count(got.String(), "\n") == 1 })
	p.Wait(t)
	wait.For(t, "the loss", func() bool { return strings.Contains(said.String(), "connection lost, trying again: ") })
	dir, err := os.Getwd() // with the stream's files, to go on with
	if err != nil {
		t.Fatal(err)
	}
	again := launch.StartAt(t, Run, here, "--set", nats, "--set", "nats.embedded.store_dir="+dir+"/data")
	launch.Command(t, Run, exitStopped, "send", "u", "t", `{"n":2}`, "--queue", "--set", nats)
	if code := <-ended; code != exitStopped {
		t.Errorf("exit status %d", code)
	}
	again.Wait(t)
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
	launch.Clean(t)
	addr := "nats.embedded.addr=" + launch.FreeAddr(t)
	t.Setenv("NATS_EMBEDDED_USER", "local")
	t.Setenv("NATS_EMBEDDED_PASSWORD_FILE", launch.SecretFile(t, "of-the-file\n"))
	p := launch.Start(t, Run, "--set", addr, "--set", "drain.duration=0s")
	defer p.Wait(t)
	if out, _ := launch.Command(t, Run, exitStopped, "send", "u", "t", "{}", "--queue", "--set", addr); !strings.HasPrefix(out, "queued: ") {
		t.Errorf("send: %q", out)
	}
	if out, _ := launch.Command(t, Run, exitStopped, "dead", "ls", "--set", addr); strings.Contains(out, "of-the-file") {
		t.Errorf("dead ls: %q", out)
	}
	t.Setenv("NATS_EMBEDDED_PASSWORD_FILE", "")
	t.Setenv("NATS_EMBEDDED_PASSWORD", "another")
	if _, errs := launch.Command(t, Run, exitFailed, "send", "u", "t", "{}", "--set", addr); !strings.Contains(strings.ToLower(errs), "authorization violation") || strings.Contains(errs, "another") {
		t.Errorf("send with a wrong password: %q", errs)
	}
}
