package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/codewar/socketbridge/gateway/siotest"
)

// page is a browser page of a test: one stock socket.io-client.
type page struct {
	*siotest.Client
	t testing.TB
}

// open opens a page and waits until it is connected.
func open(t testing.TB, url string, transports []string, auth ...map[string]any) *page {
	t.Helper()
	opts := siotest.Options{Transports: transports}
	if len(auth) > 0 {
		opts.Auth = auth[0]
	}
	return &page{siotest.Dial(t, url, opts), t}
}

// setUser maps the page to a user and returns the offset it begins at.
func (p *page) setUser(user string, options ...any) (offset string) {
	p.t.Helper()
	var answer struct {
		OK     bool
		Offset string
	}
	args := p.EmitWithAck("setUserId", append([]any{user}, options...)...)
	if len(args) != 1 || json.Unmarshal(args[0], &answer) != nil || !answer.OK {
		p.t.Fatalf("setUserId(%s): %s", user, args)
	}
	return answer.Offset
}

// events picks the events of a topic.
func events(all []siotest.Message, topic string) []siotest.Message {
	return slices.DeleteFunc(slices.Clone(all), func(m siotest.Message) bool { return m.Type != "event" || m.Name != topic })
}

// waitFor waits for the first event of a topic, which must have exactly this
// payload, byte for byte.
func (p *page) waitFor(topic, payload string) {
	p.t.Helper()
	p.Wait(topic, func(all []siotest.Message) string {
		got := events(all, topic)
		if len(got) == 0 {
			return "nothing came"
		}
		if want := fmt.Sprintf(`2[%q,%s,"`, topic, payload); !strings.HasPrefix(got[0].Raw, want) {
			p.t.Fatalf("got %s, want %s…", got[0].Raw, want)
		}
		return ""
	})
}

// waitCount waits for that many events of a topic.
func (p *page) waitCount(topic string, n int) (got []siotest.Message) {
	p.t.Helper()
	p.Wait(fmt.Sprint(n, " of ", topic), func(all []siotest.Message) string {
		if got = events(all, topic); len(got) < n {
			return fmt.Sprint("got ", len(got))
		}
		return ""
	})
	return got
}

// wantNumbers waits for the messages {"n":from} to {"n":to-1} and checks that
// nothing else came, nothing twice, and all in order.
func (p *page) wantNumbers(topic string, from, to int) {
	p.t.Helper()
	for i, e := range p.waitCount(topic, to-from) {
		var payload struct{ N int }
		if err := json.Unmarshal(e.Args[0], &payload); err != nil {
			p.t.Fatal(err)
		}
		if payload.N != from+i || i >= to-from {
			p.t.Fatalf("message %d of %s is %s, want number %d of %d to %d", i, topic, e.Args[0], from+i, from, to-1)
		}
	}
}

// wantOnly checks that no event but one of each of these has come.
func (p *page) wantOnly(topics ...string) {
	p.t.Helper()
	var got []string
	for _, e := range p.Pending() {
		if !strings.HasPrefix(e.Name, "bridge:") {
			got = append(got, e.Name)
		}
	}
	slices.Sort(got)
	slices.Sort(topics)
	if !slices.Equal(got, topics) {
		p.t.Errorf("got events %v, want %v", got, topics)
	}
}

// longestSilence is the longest time between two events of a topic.
func (p *page) longestSilence(topic string) (longest time.Duration) {
	got := events(p.Pending(), topic)
	for i := 1; i < len(got); i++ {
		longest = max(longest, got[i].At.Sub(got[i-1].At))
	}
	return longest
}
