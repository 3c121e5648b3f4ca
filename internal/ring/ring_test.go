package ring

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRing(t *testing.T) {
	t.Parallel()
	r := New[int](5)
	even := func(n *int) bool { return *n%2 == 0 }
	for n, want := range [][]int{{0}, {0}, {2, 0}, {2, 0}, {4, 2, 0}, {4, 2}, {6, 4, 2}, {6, 4}, {8, 6, 4}} {
		r.Add(n)
		if d := cmp.Diff(want, r.Newest(10, even)); d != "" {
			t.Errorf("after %d (-want +got):\n%s", n, d)
		}
	}
	if d := cmp.Diff([]int{8}, r.Newest(1, even)); d != "" {
		t.Error("one (-want +got):\n", d)
	}
	var adding sync.WaitGroup
	for range 4 {
		adding.Go(func() {
			for range 100 {
				r.Add(2)
				r.Newest(3, even)
			}
		})
	}
	adding.Wait()
}
