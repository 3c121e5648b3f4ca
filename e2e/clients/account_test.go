package clients

import (
	"fmt"
	"strings"
	"testing"
)

// account compares what a tab had to show with what it has shown.
type account struct {
	owed     int // messages that the tab had to show
	lost     int // of them that it did not show
	doubled  int // shown again
	inverted int // shown after a message that was sent later
	foreign  int // shown, of another user or sent while the tab had no user
}

func judge(owed, shown []int) account {
	a := account{owed: len(owed)}
	missing := make(map[int]bool, len(owed))
	for _, n := range owed {
		missing[n] = true
	}
	last := -1
	seen := make(map[int]bool, len(shown))
	for _, n := range shown {
		switch {
		case seen[n]:
			a.doubled++
			continue
		case missing[n]:
			delete(missing, n)
		default:
			a.foreign++
		}
		seen[n] = true
		if n < last {
			a.inverted++
		}
		last = max(last, n)
	}
	a.lost = len(missing)
	return a
}

func (a account) add(b account) account {
	return account{a.owed + b.owed, a.lost + b.lost, a.doubled + b.doubled, a.inverted + b.inverted, a.foreign + b.foreign}
}

func (a account) ok() bool { return a.lost+a.doubled+a.inverted+a.foreign == 0 }

// String names only what is wrong.
func (a account) String() string {
	var wrong []string
	for _, count := range []struct {
		n    int
		name string
	}{{a.lost, "lost"}, {a.doubled, "doubled"}, {a.inverted, "inverted"}, {a.foreign, "foreign"}} {
		if count.n > 0 {
			wrong = append(wrong, fmt.Sprint(count.n, " ", count.name))
		}
	}
	return strings.Join(wrong, ", ")
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		owed, shown []int
		want        account
	}{
		"all":      {[]int{1, 2, 3}, []int{1, 2, 3}, account{owed: 3}},
		"nothing":  {nil, nil, account{}},
		"lost":     {[]int{1, 2, 3}, []int{1, 3}, account{owed: 3, lost: 1}},
		"doubled":  {[]int{1, 2}, []int{1, 2, 1}, account{owed: 2, doubled: 1}},
		"inverted": {[]int{1, 2, 3}, []int{3, 1, 2}, account{owed: 3, inverted: 2}},
		"foreign":  {[]int{1}, []int{1, 9}, account{owed: 1, foreign: 1}},
	} {
		if got := judge(tt.owed, tt.shown); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}
