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
	Gaps        []gap          `json:"gaps"`
	Errors      map[string]int `json:"errors"` // other error events, by type
	Opened      int64          `json:"opened"` // ms since 1970
	idle        bool           // did not read for a while, on purpose
}

// got is one message as a page got it.
type got struct {
	Offset string `json:"o"` // empty when the connection ended before it was told
	N      uint64 `json:"n"`
	At     int64  `json:"at"` // ms since 1970
}

// gap is one HISTORY_GAP.
type gap struct {
	Before int   `json:"before"` // index of the next message
	At     int64 `json:"at"`     // ms since 1970
}

// connection is one life of a page's socket.
type connection struct {
	At        int64 `json:"at"`     // ms since 1970
	Mapped    int64 `json:"mapped"` // setUserId was acknowledged; 0: never
	Until     int64 `json:"until"`  // its end; 0: it was there at the end
	First     int   `json:"first"`  // index of the first message it brought
	Recovered bool  `json:"recovered"`
}

// last says what became of the page's last connection.
func (p *report) last() string {
	if len(p.Connections) == 0 {
		return "none"
	}
	c := p.Connections[len(p.Connections)-1]
	return fmt.Sprintf("connected %s, mapped %s, ended %s, %d messages", clock(c.At), clock(c.Mapped), clock(c.Until), len(p.Got)-c.First)
}

// clock is a time in ms since 1970, as logs have it.
func clock(ms int64) string {
	if ms == 0 {
		return "never"
	}
	return time.UnixMilli(ms).UTC().Format("15:04:05.000")
}

// record is a page's report in the making. Safe for concurrent use.
type record struct {
	mu     sync.Mutex // guards all below
	report report
	ready  bool // setUserId was acknowledged once
}

func (r *record) opened() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Opened = time.Now().UnixMilli()
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

// event takes one event; confirmed says that its sender wanted that.
func (r *record) event(name string, args []json.RawMessage, confirmed bool) error {
	if name == "bridge:offset" {
		return r.offset(args)
	}
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
	if !confirmed && (len(args) < 2 || json.Unmarshal(args[1], &g.Offset) != nil) {
		return fmt.Errorf("message without an offset: %s", args)
	}
	g.At = time.Now().UnixMilli()
	r.report.Got = append(r.report.Got, g)
	return nil
}

// offset is what follows a message that was to be confirmed, which has none itself.
func (r *record) offset(args []json.RawMessage) error {
	var o string
	if len(args) == 0 || json.Unmarshal(args[len(args)-1], &o) != nil {
		return fmt.Errorf("bridge:offset without an offset: %s", args)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.report.Got); n > 0 && r.report.Got[n-1].Offset == "" {
		r.report.Got[n-1].Offset = o
	}
	return nil
}

// failed counts an error event. Called with mu held.
func (r *record) failed(kind string) {
	if kind == "HISTORY_GAP" {
		r.report.Gaps = append(r.report.Gaps, gap{len(r.report.Got), time.Now().UnixMilli()})
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
	r.report.Connections[len(r.report.Connections)-1].Mapped = time.Now().UnixMilli()
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
