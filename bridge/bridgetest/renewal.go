package bridgetest

import (
	"testing"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

var renewalTests = map[string]func(*testing.T, Open){
	"changes nothing that is there": func(t *testing.T, open Open) {
		a := one(t, open, long())
		a.register(socket("u", "s1"))
		a.register(socket("u", "s2"))
		before := a.locate("u")
		equal(t, "lost", a.renew(renewal("u", "s1", time.Hour), renewal("u", "s2", 0)), []bool{false, false})
		equal(t, "sockets", a.locate("u"), before)
	},

	"of none makes none": func(t *testing.T, open Open) {
		equal(t, "lost", len(one(t, open, long()).renew()), 0)
	},

	"makes what is not there, in its place": func(t *testing.T, open Open) {
		a := one(t, open, long())
		a.register(socket("u", "newer"))
		a.register(socket("u", "newest"))
		equal(t, "lost", a.renew(renewal("u", "older", time.Hour), renewal("v", "s", 0)), []bool{true, true})
		equal(t, "located", a.located("u"), []string{"older@a", "newer@a", "newest@a"})
		equal(t, "located", a.located("v"), []string{"s@a"})
		a.unregister(socket("u", "older"), 0)
		equal(t, "located", a.located("u"), []string{"newer@a", "newest@a"})
	},

	"leaves a later registration": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		r := socket("u", "s")
		a.register(r)
		r.Token = "t2"
		b.register(r) // the client resumed there
		equal(t, "lost", a.renew(renewal("u", "s", time.Minute)), []bool{false})
		equal(t, "located", a.located("u"), []string{"s@b"})
	},

	"takes the place of an earlier registration": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		r := socket("u", "s")
		r.Token = "t0"
		b.register(r) // and the store has lost that the client resumed at a
		equal(t, "lost", a.renew(renewal("u", "s", 0)), []bool{true})
		equal(t, "located", b.located("u"), []string{"s@a"})
	},

	"brings sockets into a new stay of the node": func(t *testing.T, open Open) {
		a := one(t, open, long())
		a.register(socket("u", "s1"))
		a.register(socket("u", "s2"))
		a.check("Leave", a.Leave(t.Context()))
		equal(t, "rejoined", a.beat(), true)
		equal(t, "located", a.located("u"), []string(nil))
		equal(t, "lost", a.renew(renewal("u", "s2", 0), renewal("u", "s1", 0)), []bool{true, true})
		equal(t, "located", len(a.located("u")), 2)
	},

	"has no reason while the store keeps what it has": func(t *testing.T, open Open) {
		at := open(t, long())
		a, b := join(t, at, "a"), join(t, at, "b")
		for range 3 {
			equal(t, "went back", a.wentBack(), 0)
			equal(t, "went back", b.wentBack(), 0)
			equal(t, "located", a.located("u"), []string(nil))
		}
	},

	"waits for the node to join": func(t *testing.T, open Open) {
		n := open(t, long())("a")
		if _, err := n.Renew(t.Context(), []bridge.Renewal{renewal("u", "s", 0)}); err == nil {
			t.Error("Renew before Beat: no error")
		}
	},
}

// renewal makes sure of what socket has registered.
func renewal(user bridge.UserID, id bridge.SocketID, age time.Duration) bridge.Renewal {
	return bridge.Renewal{User: user, Socket: id, Token: "t1", Age: age}
}

func (n node) wentBack() (parts int) {
	n.t.Helper()
	parts, err := n.WentBack(n.t.Context())
	n.check("WentBack", err)
	return parts
}

func (n node) renew(renewals ...bridge.Renewal) []bool {
	n.t.Helper()
	lost, err := n.Renew(n.t.Context(), renewals)
	n.check("Renew", err)
	return lost
}
