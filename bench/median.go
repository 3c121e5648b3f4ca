package main

import "slices"

// median of what each repetition says of itself.
func median[T any](repetitions []T, of func(T) float64) float64 {
	values := make([]float64, len(repetitions))
	for i, r := range repetitions {
		values[i] = of(r)
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// merged is the latencies of all repetitions in one histogram.
func merged[T any](repetitions []T, of func(T) latencies) latencies {
	all := newLatencies()
	for _, r := range repetitions {
		all.merge(of(r))
	}
	return all
}
