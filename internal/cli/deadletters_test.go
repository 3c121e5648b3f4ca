package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"

	"github.com/codewar/socketbridge/internal/testutil/launch"
	"github.com/codewar/socketbridge/internal/testutil/wait"
	"github.com/codewar/socketbridge/subscriber"
)

// dead runs "socketbridge dead" with args and returns what it printed.
func dead(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := Run(t.Context(), append([]string{"dead"}, args...), &out, &errs); code != want {
		t.Errorf("dead %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), code, want, &out, &errs)
	}
	return out.String(), errs.String()
}

// TestDead is an operator's day: a bridge with its embedded server gets messages
// that break the rules, and the commands reach them there.
func TestDead(t *testing.T) {
	launch.Clean(t)
	addr := launch.FreeAddr(t)
	bridge := launch.Start(t, Run, "--set", "nats.embedded.addr="+addr, "--set", "nats.token=secret", "--set", "canary.interval=0s") // the offsets below are those of the letters alone
	defer bridge.Wait(t)
	dead := func(want int, args ...string) (stdout, stderr string) {
		t.Helper()
		return dead(t, want, append(args, "--set", "nats.embedded.addr="+addr, "--set", "nats.token=secret")...)
	}
	letters := func() int {
		t.Helper()
		out, _ := dead(exitStopped, "ls", "--json")
		return strings.Count(out, "\n")
	}
	launch.Publish(t, addr,
		&nats.Msg{Subject: "codewar.t", Header: nats.Header{"x": {"a", "b"}}, Data: []byte(`{"userId":`)},
		&nats.Msg{Subject: "codewar.t", Data: []byte("\x00\xff")},
		&nats.Msg{Subject: "codewar.u", Data: []byte(`{"topic":"v","userId":"<1>"}`)})
	wait.For(t, "three letters", func() bool { return letters() == 3 })

	table, _ := dead(exitStopped, "ls")
	want := regexp.MustCompile(`^ SEQUENCE   AGE  REASON           OFFSET                       SIZE  SUBJECT
        1    \ds  INVALID_JSON     \d{13}-1 +10  codewar.t
        2    \ds  INVALID_UTF8     \d{13}-2 +2  codewar.t
        3    \ds  TOPIC_MISMATCH   \d{13}-3 +28  codewar.u

INVALID_JSON     1
INVALID_UTF8     1
TOPIC_MISMATCH   1
total            3
$`)
	if !want.MatchString(table) {
		t.Errorf("ls:\n%s", table)
	}
	if out, _ := dead(exitStopped, "ls", "--limit", "1"); !strings.Contains(out, "codewar.u") || strings.Contains(out, "codewar.t") ||
		!strings.HasSuffix(out, "total            3, the newest 1 listed (--limit)\n") {
		t.Errorf("ls --limit 1:\n%s", out)
	}
	if out, _ := dead(exitStopped, "ls", "--limit", "0", "--older", "1h"); !strings.HasSuffix(out, "\ntotal            0\n") {
		t.Errorf("ls --older 1h:\n%s", out)
	}
	line, _ := dead(exitStopped, "ls", "--json", "--reason", "INVALID_JSON", "--newer", "1h")
	testDeadJSON(t, line, deadJSON{Sequence: 1, Code: "INVALID_JSON", Reason: "Missing topic, payload or userId", Subject: "codewar.t", Size: 10, Header: nats.Header{"x": {"a", "b"}}})

	text, _ := dead(exitStopped, "show", "1")
	for _, part := range []string{"INVALID_JSON: Missing topic, payload or userId\n", "header    x: a\nheader    x: b\n", "\n\n{\"userId\":\n"} {
		if !strings.Contains(text, part) {
			t.Errorf("show 1 lacks %q:\n%s", part, text)
		}
	}
	if out, _ := dead(exitStopped, "show", "2"); !strings.HasSuffix(out, "\n\n00000000  00 ff                                             |..|\n") {
		t.Errorf("show 2:\n%s", out)
	}
	line, _ = dead(exitStopped, "show", "--json", "2")
	testDeadJSON(t, line, deadJSON{Sequence: 2, Code: "INVALID_UTF8", Reason: "Body is not valid UTF-8", Subject: "codewar.t", Size: 2, BodyBase64: []byte("\x00\xff")})
	line, _ = dead(exitStopped, "show", "--json", "3")
	testDeadJSON(t, line, deadJSON{Sequence: 3, Code: "TOPIC_MISMATCH", Reason: "topic in the body does not agree with the subject", Subject: "codewar.u", Size: 28, Body: new(`{"topic":"v","userId":"<1>"}`)})
	if _, errs := dead(exitFailed, "show", "9"); errs != "socketbridge: letter 9: no such dead letter\n" {
		t.Errorf("show 9: %q", errs)
	}

	if out, _ := dead(exitStopped, "replay", "1", "2", "--dry-run"); out != "1 would replay: INVALID_JSON on codewar.t\n2 would replay: INVALID_UTF8 on codewar.t\nwould be replayed: 2\n" {
		t.Errorf("replay --dry-run: %q", out)
	}
	// 9 does not exist, 1 goes all the same: and breaks the rules again.
	out, errs := dead(exitFailed, "replay", "9", "1")
	if out != "1 replayed to codewar.t as message 4\nreplayed: 1\n" || errs != "9 no such dead letter\nsocketbridge: letters that failed: 1\n" {
		t.Errorf("replay 9 1: %q, %q", out, errs)
	}
	wait.For(t, "the replayed message's letter", func() bool { return letters() == 3 })
	if _, errs := dead(exitFailed, "show", "1"); !strings.Contains(errs, "no such") {
		t.Errorf("letter 1 is still there: %s", errs)
	}

	if out, errs := dead(exitFailed, "purge", "9", "2", "--dry-run", "--json"); out != `{"sequence":9,"error":"no such dead letter"}`+"\n"+`{"sequence":2,"done":"would be purged"}`+"\n" || strings.Count(errs, "\n") != 1 {
		t.Errorf("purge --dry-run --json: %s%s", out, errs)
	}
	if out, _ := dead(exitStopped, "purge", "--reason", "TOPIC_MISMATCH"); out != "purged: 1\n" {
		t.Errorf("purge by reason: %q", out)
	}
	if out, _ := dead(exitStopped, "purge", "--all", "--dry-run"); !strings.HasSuffix(out, "would be purged: 2\n") || letters() != 2 {
		t.Errorf("purge --all --dry-run: %q", out)
	}
	if out, _ := dead(exitStopped, "purge", "--all"); out != "purged: 2\n" || letters() != 0 {
		t.Errorf("purge --all: %q", out)
	}
}

func TestDeadUsage(t *testing.T) {
	launch.Clean(t)
	for _, args := range []string{
		"bury", "ls 1", "ls --limit -1", "ls --older soon", "ls --older -1h", "ls --newer 0s", "ls --reason a.b", "ls --older 2h --newer 1h",
		"show", "show 1 2", "show x", "show 0", "replay", "replay x", "replay 1 --all", "replay --all --older 1h", "purge", "purge --dry-run",
		"purge --bad", "purge 1 --reason A",
	} {
		if out, errs := dead(t, exitUsage, strings.Fields(args)...); out != "" || strings.Count(errs, "\n") != 1 {
			t.Errorf("dead %s: printed %q and %q, want one line of error", args, out, errs)
		}
	}
	if _, errs := dead(t, exitUsage, "purge", "--reason="); errs == "" {
		t.Error("an empty reason was taken for every reason")
	}
	if _, errs := dead(t, exitUsage, "ls", "--set", "nats.urll=x"); !strings.Contains(errs, "nats.urll") {
		t.Errorf("wrong configuration: %s", errs)
	}
	if out, _ := dead(t, exitStopped); !strings.Contains(out, "replay") {
		t.Errorf("dead alone is no help:\n%s", out)
	}
}

func TestDeadWithoutNATS(t *testing.T) {
	launch.Clean(t)
	addr := launch.FreeAddr(t)
	for _, setting := range []string{"nats.embedded.addr=" + addr, "nats.url=nats://user:hidden@" + addr} {
		_, errs := dead(t, exitFailed, "ls", "--set", setting)
		if strings.Count(errs, "\n") != 1 || !strings.Contains(errs, "not available") || strings.Contains(errs, "hidden") {
			t.Errorf("without a server at %s: %q", setting, errs)
		}
	}
}

// TestDeadListHoldsTheNewestOnly lists many letters without a server.
func TestDeadListHoldsTheNewestOnly(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	many := func(n uint64, err error) func(func(subscriber.DeadLetter, error) bool) {
		return func(yield func(subscriber.DeadLetter, error) bool) {
			for i := range n {
				if !yield(subscriber.DeadLetter{Seq: i + 1, Code: "C\x1b[2J"}, nil) {
					return
				}
			}
			if err != nil {
				yield(subscriber.DeadLetter{}, err)
			}
		}
	}
	var b bytes.Buffer
	if err := listDead(&b, many(1000, nil), 2, false); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Count(got, "\n") != 6 || strings.Contains(got, "\x1b") || !strings.Contains(got, "     1000 ") {
		t.Errorf("listed:\n%s", got)
	}
	if err := listDead(io.Discard, many(3, broken), 0, true); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestAge(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 60 * time.Second: "1m", 59 * time.Minute: "59m",
		47 * time.Hour: "47h", 48 * time.Hour: "2d", 168 * time.Hour: "7d",
	} {
		if got := age(d); got != want {
			t.Errorf("age(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestIsText(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		"": true, "{\n\t\"a\": 1\r\n}": true, "ü 日本": true, `say "hi"`: true,
		"\x00": false, "\x1b[2J": false, "hide\rseek": false, "\xff": false, "a\u202eb": false,
	} {
		if got := isText(s); got != want {
			t.Errorf("isText(%q) = %v", s, got)
		}
	}
}

func testDeadJSON(t *testing.T, line string, want deadJSON) {
	t.Helper()
	var got deadJSON
	d := json.NewDecoder(strings.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil || strings.Count(line, "\n") != 1 {
		t.Fatalf("%v in %q", err, line)
	}
	if got.Offset.Seq != want.Sequence || time.Since(got.Timestamp) > time.Minute {
		t.Errorf("offset %v, timestamp %v", got.Offset, got.Timestamp)
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(deadJSON{}, "Offset", "Timestamp"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}
