package store

import "testing"

// TestSlab: what is taken is zero, stays where it is while more is taken, and is given
// out again only after a reset.
func TestSlab(t *testing.T) {
	t.Parallel()
	var s slab[int]
	for round := range 3 {
		seen := make(map[*int]bool)
		var taken [][]int
		for n := 1; n < 300; n += 7 {
			some := s.take(n)
			if len(some) != n || cap(some) != n {
				t.Fatalf("take(%d): length %d, capacity %d", n, len(some), cap(some))
			}
			for i := range some {
				if some[i] != 0 || seen[&some[i]] {
					t.Fatalf("round %d: take(%d)[%d] is %d, taken before: %v", round, n, i, some[i], seen[&some[i]])
				}
				seen[&some[i]] = true
				some[i] = n
			}
			taken = append(taken, some)
		}
		for _, some := range taken {
			for i := range some {
				if some[i] != len(some) {
					t.Fatalf("round %d: an item of take(%d) has become %d", round, len(some), some[i])
				}
			}
		}
		s.reset()
	}
}
