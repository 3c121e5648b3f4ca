package store

import "github.com/codewar/socketbridge/bridge"

// userRun is one user's entries in a batch.
type userRun struct {
	user    bridge.UserID
	tail    *tail // nil when it is not known
	entries []int // their indexes, in order
	only    bool  // one of them is of no use to an absent user
}

// runs sorts a batch by user, each user at the place of its first entry.
func (a *appending) runs() []userRun {
	p := a.paper
	runOf, counts := p.runOf.take(len(a.entries)), p.indexes.take(len(a.entries))
	users := 0
	for i, e := range a.entries {
		at, seen := p.places[e.User]
		if !seen {
			at = users
			p.places[e.User] = at
			users++
		}
		runOf[i] = at
		counts[at]++
	}
	runs, indexes := p.runs.take(users), p.indexes.take(len(a.entries))
	for i := range a.entries {
		e, u := &a.entries[i], &runs[runOf[i]]
		if u.entries == nil {
			n := counts[runOf[i]]
			*u = userRun{user: e.User, tail: a.r.tails.find(e.User), entries: indexes[:0:n]}
			indexes = indexes[n:]
		}
		u.entries = append(u.entries, i)
		u.only = u.only || e.OnlyIfPresent
	}
	return runs
}
