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
	silence    time.Duration // the longest between two messages of a page that reads
	silent     string        // that page
	breaches   []string      // everything that must not be, in words
	film       *film         // what happened when
}

// breach notes something that must not be; the first few of a kind are enough.
func (r *result) breach(format string, args ...any) {
	const most = 20
	if len(r.breaches) < most {
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

// account is the whole of a row's truth, by user and by offset.
type account struct {
	byUser  map[string][]*entry // in the order of the stream
	at      map[bridge.Offset]*entry
	answers map[uint64]answer
}

func newAccount(entries []entry, answers map[uint64]answer) *account {
	a := &account{byUser: make(map[string][]*entry), at: make(map[bridge.Offset]*entry, len(entries)), answers: answers}
	for i := range entries {
		e := &entries[i]
		a.at[e.offset] = e
		if !e.poison {
			a.byUser[e.user] = append(a.byUser[e.user], e)
		}
	}
	return a
}

// byOffset returns the entry of an offset as pages know it, nil when there is none.
func (a *account) byOffset(text string) *entry {
	c, err := bridge.ParseCursor(text)
	if err != nil {
		return nil
	}
	return a.at[c.Offset]
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

// judge holds what the pages saw against the account.
func (a *account) judge(reports []report) *result {
	res := &result{published: len(a.at)}
	for _, told := range a.answers {
		if told == offline {
			res.offline++
		}
	}
	for i := range reports {
		a.judgePage(&reports[i], res)
	}
	a.judgeAnswers(res)
	return res
}

// judgePage checks one page. Its gaps are ranges of offsets that it may miss.
func (a *account) judgePage(p *report, res *result) {
	name := fmt.Sprintf("page %d of %s", p.Page, p.User)
	have := make(map[bridge.Offset]bool, len(p.Got))
	offsets := make([]bridge.Offset, len(p.Got))
	var last bridge.Offset
	for i, g := range p.Got {
		c, err := bridge.ParseCursor(g.Offset)
		o := c.Offset
		e := a.at[o]
		switch {
		case err != nil || e == nil || e.poison || e.user != p.User || e.n != g.N:
			res.strays++
			res.breach("%s got number %d at %s, the stream holds %+v there", name, g.N, g.Offset, e)
		case have[o]:
			res.duplicates++
			res.breach("%s got %s twice", name, o)
		case last.After(o):
			res.inversions++
			res.breach("%s got %s after %s", name, o, last)
		case dutyOf(e, a.answers) == mustNot:
			res.strays++
			res.breach("%s got %s, number %d, which was answered 404", name, o, g.N)
		}
		have[o], offsets[i] = true, o
		last = last.Max(o)
		if at := place(p, i); e != nil && at > 0 && e.stored.UnixMilli() < p.Connections[at].At {
			res.replayed++
		}
	}
	res.received += len(p.Got)
	a.missing(p, name, have, offsets, res)
	res.gaps += len(p.Gaps)
	for i, c := range p.Connections {
		if i > 0 {
			res.reconnects++
			if c.Recovered {
				res.recovered++
			}
		}
	}
	if s := time.Duration(p.Silence) * time.Millisecond; !p.idle && s > res.silence {
		res.silence, res.silent = s, name
	}
}

// missing accounts for what the page has not got.
func (a *account) missing(p *report, name string, have map[bridge.Offset]bool, offsets []bridge.Offset, res *result) {
	for _, e := range a.byUser[p.User] {
		switch {
		case have[e.offset]:
		case dutyOf(e, a.answers) == mustNot:
		case dutyOf(e, a.answers) == may:
			res.unsure++
		case inGap(p.Gaps, offsets, e.offset):
			res.gapped++
		default:
			res.lost++
			res.breach("%s never got %s, number %d, stored %s", name, e.offset, e.n, e.stored.Format("15:04:05.000"))
		}
	}
}

// inGap reports whether an offset lies between the message before a gap that was
// told and the one after it.
func inGap(gaps []int, offsets []bridge.Offset, o bridge.Offset) bool {
	return slices.ContainsFunc(gaps, func(i int) bool {
		return (i == 0 || o.After(offsets[i-1])) && (i == len(offsets) || offsets[i].After(o))
	})
}

// place is the index of the connection that brought message i.
func place(p *report, i int) int {
	at, exact := slices.BinarySearchFunc(p.Connections, i, func(c connection, i int) int { return cmp.Compare(c.First, i) })
	for exact && at+1 < len(p.Connections) && p.Connections[at+1].First == i {
		at++ // a connection that brought nothing
	}
	if !exact {
		at--
	}
	return max(at, 0)
}

// judgeAnswers checks that what was acknowledged is in the stream.
func (a *account) judgeAnswers(res *result) {
	numbers := make(map[uint64]bool, len(a.at))
	for _, e := range a.at {
		if !e.poison {
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

// judgeDead checks that each poison message is a dead letter, once, and nothing else is.
func (a *account) judgeDead(dead map[string]int, res *result) {
	for _, n := range dead {
		res.dead += n
	}
	for o, e := range a.at {
		if n := dead[o.String()]; e.poison && n != 1 || !e.poison && n != 0 {
			res.breach("%s, poison %t, has %d dead letters", o, e.poison, n)
		}
	}
}
