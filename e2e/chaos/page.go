package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

// report is what one page saw. The stock pages' driver writes the same as JSON.
type report struct {
	Page        int            `json:"page"`
	User        string         `json:"user"`
	Got         []got          `json:"got"`
	Connections []connection   `json:"connections"`
	Gaps        []int          `json:"gaps"`    // before which message HISTORY_GAP was told
	Silence     int64          `json:"silence"` // ms, the longest between two messages
	Errors      map[string]int `json:"errors"`  // other error events, by type
	idle        bool           // did not read for a while, on purpose
}

// got is one message as a page got it.
type got struct {
	Offset string `json:"o"`
	N      uint64 `json:"n"`
	At     int64  `json:"at"` // ms since 1970
}

// connection is one life of a page's socket.
type connection struct {
	At        int64 `json:"at"`    // ms since 1970
	Until     int64 `json:"until"` // the same; 0: it was there at the end
	First     int   `json:"first"` // index of the first message it brought
	Recovered bool  `json:"recovered"`
}

// record is a page's report in the making. Safe for concurrent use.
type record struct {
	mu     sync.Mutex // guards all below
	report report
	last   time.Time // when the last message came
	ready  bool      // setUserId was acknowledged once
}

func (r *record) connected(recovered bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Connections = append(r.report.Connections, connection{At: time.Now().UnixMilli(), First: len(r.report.Got), Recovered: recovered})
}

// gone notes that the connection has ended.
func (r *record) gone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Connections[len(r.report.Connections)-1].Until = time.Now().UnixMilli()
}

// event takes one event.
func (r *record) event(name string, args []json.RawMessage) error {
	if strings.HasPrefix(name, "bridge:") {
		return nil
	}
	if len(args) == 0 {
		return fmt.Errorf("event %s without an argument", name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == "error" {
		var e struct{ Type string }
		if err := json.Unmarshal(args[0], &e); err != nil {
			return fmt.Errorf("decode error event: %w", err)
		}
		r.failed(e.Type)
		return nil
	}
	var g got
	if err := json.Unmarshal(args[0], &g); err != nil {
		return fmt.Errorf("decode payload: %w", err)
	}
	if len(args) < 2 || json.Unmarshal(args[1], &g.Offset) != nil {
		return fmt.Errorf("message without an offset: %s", args)
	}
	now := time.Now()
	if !r.last.IsZero() {
		r.report.Silence = max(r.report.Silence, now.Sub(r.last).Milliseconds())
	}
	r.last, g.At = now, now.UnixMilli()
	r.report.Got = append(r.report.Got, g)
	return nil
}

// failed counts an error event. Called with mu held.
func (r *record) failed(kind string) {
	if kind == "HISTORY_GAP" {
		r.report.Gaps = append(r.report.Gaps, len(r.report.Got))
		return
	}
	if r.report.Errors == nil {
		r.report.Errors = make(map[string]int)
	}
	r.report.Errors[kind]++
}

func (r *record) mapped() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready = true
}

func (r *record) isReady() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready
}

func (r *record) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.report.Got)
}

// final returns the report. The page must have ended.
func (r *record) final() report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.report
}
