package main

// sequence checks the numbers of one user's messages, which are 1, 2, 3 and so on.
type sequence struct {
	last    uint64              // the greatest received
	missing map[uint64]struct{} // less than last and not received
}

// faults is what must not be. Any of it makes the run fail.
type faults struct{ lost, duplicates, inversions uint64 }

func (f faults) any() bool { return f != faults{} }

// take notes a number, and in f when it is one too many or too late.
func (s *sequence) take(n uint64, f *faults) {
	switch {
	case n == s.last+1:
		s.last = n
	case n > s.last:
		if s.missing == nil {
			s.missing = make(map[uint64]struct{})
		}
		for m := s.last + 1; m < n; m++ {
			s.missing[m] = struct{}{}
		}
		s.last = n
	default:
		if _, late := s.missing[n]; late {
			delete(s.missing, n)
			f.inversions++
		} else {
			f.duplicates++
		}
	}
}

// lost is how many of the first sent numbers have not come.
func (s *sequence) lost(sent uint64) uint64 { return uint64(len(s.missing)) + sent - s.last }
