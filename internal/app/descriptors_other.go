//go:build !linux && !darwin

package app

// descriptorLimit is how many descriptors this process may have.
func descriptorLimit() (n uint64, known bool) { return 0, false }
