package bridgetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/codewar/socketbridge/bridge"
)

var sessionTests = map[string]func(*testing.T, Open){
	"is known on every node until dropped": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		want := map[string]bridge.Session{"p1": {User: "u", Socket: "s1"}, "p{}2": {User: `"日本"`, Given: bridge.Offset{Epoch: 1, Seq: 2}}}
		a.check("SaveSessions", a.SaveSessions(t.Context(), want))
		a.check("SaveSessions", a.SaveSessions(t.Context(), nil))
		for pid, s := range want {
			got, err := b.Session(t.Context(), pid)
			b.check("Session", err)
			equal(t, pid, got, s)
		}
		b.check("DropSession", b.DropSession(t.Context(), "u", "p1"))
		b.check("DropSession", b.DropSession(t.Context(), "u", "never was"))
		if _, err := a.Session(t.Context(), "p1"); !errors.Is(err, bridge.ErrNoSession) {
			t.Errorf("dropped: %v", err)
		}
	},

	"lapses": func(t *testing.T, open Open) {
		limits := long()
		limits.SessionTTL = short
		n := one(t, open, limits)
		n.check("SaveSessions", n.SaveSessions(t.Context(), map[string]bridge.Session{"p": {User: "u", Socket: "s"}}))
		waitFor(t, "the session lapses", func() bool {
			_, err := n.Session(t.Context(), "p")
			return errors.Is(err, bridge.ErrNoSession)
		})
	},

	"a user has at most so many, the newest": func(t *testing.T, open Open) {
		limits := long()
		limits.MaxSessions = 3
		at := open(t, limits)
		a, b := join(t, at, "a"), join(t, at, "b")
		a.save("other", "u") // another user's count for itself
		for _, pid := range []string{"p1", "p2", "p3"} {
			a.save("u", pid)
		}
		b.save("u", "p1") // saved again: the newest, p2 is the oldest
		r := socket("u", "s4")
		r.PID = "p4"
		a.register(r)
		b.knows(map[string]bool{"p1": true, "p2": false, "p3": true, "p4": true, "u": true})
		a.check("DropSession", a.DropSession(t.Context(), "u", "p3"))
		a.save("u", "p5") // there is room again
		b.knows(map[string]bool{"p1": true, "p3": false, "p4": true, "p5": true, "u": true})
	},

	"of another user is not dropped": func(t *testing.T, open Open) {
		limits := long()
		limits.MaxSessions = 1
		n := one(t, open, limits)
		n.save("u", "p")
		n.save("v", "p") // its socket has become v's
		n.check("DropSession", n.DropSession(t.Context(), "u", "p"))
		n.save("u", "q", "r") // evicts q
		n.knows(map[string]bool{"p": true, "q": false, "r": true})
	},

	"saved by many nodes at once, are no more than allowed": func(t *testing.T, open Open) {
		limits := long()
		limits.MaxSessions = 5
		at := open(t, limits)
		nodes := []node{join(t, at, "a"), join(t, at, "b"), join(t, at, "c")}
		const each = 50
		var wg sync.WaitGroup
		for i, n := range nodes {
			wg.Go(func() {
				for j := range each {
					r := socket("u", bridge.SocketID(fmt.Sprint("s", i)))
					r.PID = fmt.Sprint("p", i, "-", j)
					if _, err := n.Register(t.Context(), r); err != nil {
						t.Errorf("Register: %v", err)
					}
				}
			})
		}
		wg.Wait()
		known := 0
		for i := range nodes {
			for j := range each {
				if _, err := nodes[0].Session(t.Context(), fmt.Sprint("p", i, "-", j)); err == nil {
					known++
				}
			}
		}
		equal(t, "sessions", known, limits.MaxSessions)
	},
}

// save saves sessions of the user, one after the other.
func (n node) save(user bridge.UserID, pids ...string) {
	n.t.Helper()
	for _, pid := range pids {
		n.check("SaveSessions", n.SaveSessions(n.t.Context(), map[string]bridge.Session{pid: {User: user, Socket: "s"}}))
	}
}

// knows checks which sessions the store has.
func (n node) knows(want map[string]bool) {
	n.t.Helper()
	got := make(map[string]bool)
	for pid := range want {
		_, err := n.Session(n.t.Context(), pid)
		if err != nil && !errors.Is(err, bridge.ErrNoSession) {
			n.t.Fatalf("Session: %v", err)
		}
		got[pid] = err == nil
	}
	equal(n.t, "known sessions", got, want)
}
