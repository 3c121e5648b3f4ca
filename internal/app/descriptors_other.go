//go:build !linux && !darwin

package app

// descriptorLimit is not known on this system.
func descriptorLimit() (n uint64, known bool) { return 0, false }
