package bridge

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTraceSurvives(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 21, 0, 0, 123456789, time.UTC)
	for name, want := range map[string]Trace{
		"dead":    {Offset: Offset{1, 2}, Subject: "codewar.x", Read: at, Settled: at, Outcome: Dead, Code: CodeInvalidJSON},
		"nobody":  {Offset: Offset{1, 2}, Subject: "codewar.x", User: "Zoë \"q\" \\", Read: at, Settled: at, Outcome: Inboxed},
		"several": {Offset: Offset{1, 2}, Subject: "codewar.x", User: "u", Read: at, Settled: at.Add(time.Second), Outcome: Pushed, Tries: []Try{{Node: "a", Sockets: []SocketID{"s1", "s2"}, Took: 1, Seen: 1}, {Node: "b", Sockets: []SocketID{"s3"}, Acked: 2, Error: "no answer"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseTrace(want.append(nil))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}
