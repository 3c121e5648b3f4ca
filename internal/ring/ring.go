// Package ring keeps the newest items of a kind in bounded memory.
package ring

import "sync"

// Ring keeps the newest items that were added to it. Safe for concurrent use.
type Ring[T any] struct {
	size int

	mu    sync.Mutex // guards all below
	items []T
	next  int // index of the next item once the ring is full
}

// New makes an empty ring of at most size items. Its memory grows with the items.
func New[T any](size int) *Ring[T] { return &Ring[T]{size: size} }

// Add adds an item. When the ring is full, the oldest item is dropped.
func (r *Ring[T]) Add(item T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.items) < r.size {
		r.items = append(r.items, item)
		return
	}
	r.items[r.next] = item
	r.next = (r.next + 1) % r.size
}

// Newest returns at most limit items that match, newest first.
func (r *Ring[T]) Newest(limit int, match func(*T) bool) (found []T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.items {
		item := &r.items[(r.next+len(r.items)-1-i)%len(r.items)]
		if !match(item) {
			continue
		}
		if found = append(found, *item); len(found) == limit {
			break
		}
	}
	return found
}
