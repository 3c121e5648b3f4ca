package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// result is one line of the table.
type result struct {
	published  int // messages that the stream held
	received   int // by all pages
	replayed   int // of them, stored before the connection that brought them began
	duplicates int
	inversions int
	lost       int
	strays     int // what the stream holds otherwise, or not for this user, or what was answered 404
	gaps       int // times HISTORY_GAP was told
	gapped     int // messages that were missed there
	offline    int // POSTs answered 404
	unsure     int // POSTs without an answer that did not arrive
	dead       int // dead letters
	reconnects int
	recovered  int           // of them, with socket.recovered
	denied     int           // of the POSTs answered 404, those whose user was connected all the while
	silence    time.Duration // the longest that a page got nothing while the stream had something for it
	silent     string        // that page
	said       []string      // by bridges about themselves
	breaches   []string      // what must not be, in words
	kinds      map[string]int
	film       *film // what happened when
}

// breach notes something that must not be; the first few of a kind are enough.
func (r *result) breach(format string, args ...any) {
	const most = 3
	if r.kinds == nil {
		r.kinds = make(map[string]int)
	}
	if r.kinds[format]++; r.kinds[format] <= most {
		r.breaches = append(r.breaches, fmt.Sprintf(format, args...))
	}
}

func (r *result) failed() bool {
	return len(r.breaches) > 0 || r.duplicates+r.inversions+r.lost+r.strays > 0
}

// duty is whether a page has to get a message.
type duty uint8

const (
	must duty = iota
	may
	mustNot
)

// dutyOf says what the account allows for an entry. The answers are the publishers'.
func dutyOf(e *entry, answers map[uint64]answer) duty {
	switch {
	case !e.drop:
		return must
	case answers[e.n] == stored:
		return must
	case answers[e.n] == offline:
		return mustNot
	}
	return may
}

// account is the whole of a row's truth, by user and by place.
type account struct {
	entries  []entry
	byUser   map[string][]*entry // in the order of the stream
	at       map[place]int       // index into entries
	answers  map[uint64]answer
	refusals []refusal
}

// place is how a page knows a message: the sequence in its offset, and its publisher's
// number. The offset's first part is the bridge's own affair.
type place struct{ seq, n uint64 }

func newAccount(entries []entry, answers map[uint64]answer, refusals ...refusal) *account {
	a := &account{
		entries: entries, byUser: make(map[string][]*entry), at: make(map[place]int, len(entries)),
		answers: answers, refusals: refusals,
	}
	for i := range entries {
		e := &entries[i]
		a.at[place{e.seq, e.n}] = i
		if !e.poison {
			a.byUser[e.user] = append(a.byUser[e.user], e)
		}
	}
	return a
}

// find returns a message as a page knows it, and its place in the order of the stream; nil
// when there is none. A message whose offset the page was not told is found by its number.
func (a *account) find(user string, g got) (e *entry, order int) {
	if g.Offset == "" {
		for _, e := range a.byUser[user] {
			if e.n == g.N {
				return e, a.at[place{e.seq, e.n}]
			}
		}
		return nil, 0
	}
	c, err := bridge.ParseCursor(g.Offset)
	if err != nil {
		return nil, 0
	}
	order, ok := a.at[place{c.Offset.Seq, g.N}]
	if !ok {
		return nil, 0
	}
	return &a.entries[order], order
}

// owed is how many messages a page of the user must get.
func (a *account) owed(user string) (n int) {
	for _, e := range a.byUser[user] {
		if dutyOf(e, a.answers) == must {
			n++
		}
	}
	return n
}

// judge holds what the pages saw, until then, against the account. Silence counts from since on.
func (a *account) judge(reports []report, since, until time.Time) *result {
	res := &result{published: len(a.entries)}
	for _, told := range a.answers {
		if told == offline {
			res.offline++
		}
	}
	for i := range reports {
		a.judgePage(&reports[i], since, until, res)
	}
	a.judgeAnswers(res)
	a.judgeRefusals(reports, res)
	return res
}

// judgePage checks one page. Its gaps are ranges of messages that it may miss.
func (a *account) judgePage(p *report, since, until time.Time, res *result) {
	name := fmt.Sprintf("page %d of %s", p.Page, p.User)
	have := make(map[*entry]bool, len(p.Got))
	orders := make([]int, len(p.Got))
	last := -1
	for i, g := range p.Got {
		orders[i] = last
		e, order := a.find(p.User, g)
		switch {
		case e == nil || e.poison || e.user != p.User:
			res.strays++
			res.breach("%s got number %d at %s, the stream holds %+v there", name, g.N, g.Offset, e)
			continue
		case have[e]:
			res.duplicates++
			res.breach("%s got %d twice, number %d", name, e.seq, e.n)
		case order < last:
			res.inversions++
			res.breach("%s got %d after %d", name, e.seq, a.entries[last].seq)
		case dutyOf(e, a.answers) == mustNot:
			res.strays++
			res.breach("%s got %d, number %d, which was answered 404", name, e.seq, g.N)
		}
		have[e] = true
		last = max(last, order)
		orders[i] = order
		if at := connectionOf(p, i); at > 0 && e.stored.UnixMilli() < p.Connections[at].At {
			res.replayed++
		}
	}
	res.received += len(p.Got)
	a.missing(p, name, have, orders, res)
	res.gaps += len(p.Gaps)
	for i, c := range p.Connections {
		if i > 0 {
			res.reconnects++
			if c.Recovered {
				res.recovered++
			}
		}
	}
	if s := a.silence(p, since, until); !p.idle && s > res.silence {
		res.silence, res.silent = s, name
	}
}

// silence is the longest time that the page got nothing while the stream had taken something
// for it: from that, or from when the page was opened, to the next message or the end. What was
// before since does not count.
func (a *account) silence(p *report, since, until time.Time) (longest time.Duration) {
	var stored []int64 // ms since 1970
	for _, e := range a.byUser[p.User] {
		if dutyOf(e, a.answers) == must {
			stored = append(stored, e.stored.UnixMilli())
		}
	}
	if len(stored) == 0 {
		return 0
	}
	from := max(p.Opened, stored[0], since.UnixMilli())
	for _, g := range p.Got {
		longest = max(longest, time.Duration(g.At-from)*time.Millisecond)
		next, _ := slices.BinarySearch(stored, g.At+1)
		if next == len(stored) {
			return longest
		}
		from = max(stored[next], since.UnixMilli())
	}
	return max(longest, time.Duration(until.UnixMilli()-from)*time.Millisecond)
}

// missing accounts for what the page has not got.
func (a *account) missing(p *report, name string, have map[*entry]bool, orders []int, res *result) {
	for _, e := range a.byUser[p.User] {
		switch {
		case have[e]:
		case dutyOf(e, a.answers) == mustNot:
		case dutyOf(e, a.answers) == may:
			res.unsure++
		case a.inGap(p.Gaps, orders, e):
			res.gapped++
		default:
			res.lost++
			res.breach("%s never got %d, number %d, stored %s, removed %t; its last of %d connections: %s",
				name, e.seq, e.n, clock(e.stored.UnixMilli()), !e.removed.IsZero(), len(p.Connections), p.last())
		}
	}
}

// inGap reports whether a message lies between the message before a gap that was told and the
// one after it. What has left the stream is accounted for by any gap that was told after that.
func (a *account) inGap(gaps []gap, orders []int, e *entry) bool {
	order := a.at[place{e.seq, e.n}]
	return slices.ContainsFunc(gaps, func(g gap) bool {
		if !e.removed.IsZero() && g.At >= e.removed.UnixMilli() {
			return true
		}
		return (g.Before == 0 || order > orders[g.Before-1]) && (g.Before == len(orders) || orders[g.Before] > order)
	})
}

// connectionOf is the index of the connection that brought message i.
func connectionOf(p *report, i int) int {
	at, exact := slices.BinarySearchFunc(p.Connections, i, func(c connection, i int) int { return cmp.Compare(c.First, i) })
	for exact && at+1 < len(p.Connections) && p.Connections[at+1].First == i {
		at++ // a connection that brought nothing
	}
	if !exact {
		at--
	}
	return max(at, 0)
}

// judgeAnswers checks that what was acknowledged is in the stream, or was.
func (a *account) judgeAnswers(res *result) {
	numbers := make(map[uint64]bool, len(a.entries))
	for i := range a.entries {
		if e := &a.entries[i]; !e.poison {
			numbers[e.n] = true
		}
	}
	for n, told := range a.answers {
		if told == stored && !numbers[n] {
			res.lost++
			res.breach("number %d was acknowledged and is not in the stream", n)
		}
	}
}

// settled is how long before a call a page must have been mapped, and how long after it must
// have stayed, for it to be wrong that its user is not connected.
const settled = time.Second

// judgeRefusals counts the callers that were told that a user is away who was not.
func (a *account) judgeRefusals(reports []report, res *result) {
	pages := make(map[string][]*report)
	for i := range reports {
		if p := &reports[i]; !p.idle { // one that does not read does not see that it was closed
			pages[p.User] = append(pages[p.User], p)
		}
	}
	for _, r := range a.refusals {
		from, to := r.from.Add(-settled).UnixMilli(), r.to.Add(settled).UnixMilli()
		if slices.ContainsFunc(pages[r.user], func(p *report) bool {
			return slices.ContainsFunc(p.Connections, func(c connection) bool {
				return c.Mapped != 0 && c.Mapped <= from && (c.Until == 0 || c.Until > to)
			})
		}) {
			res.denied++
		}
	}
}

// judgeDead checks that each poison message is a dead letter, once, and nothing else is.
func (a *account) judgeDead(dead map[uint64]int, res *result) {
	for _, n := range dead {
		res.dead += n
	}
	for i := range a.entries {
		e := &a.entries[i]
		if n := dead[e.seq]; e.poison && n != 1 || !e.poison && n != 0 {
			res.breach("%d, poison %t, has %d dead letters", e.seq, e.poison, n)
		}
	}
}
