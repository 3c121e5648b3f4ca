package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// TestFilm: a page that is away from 1.0 s to 2.0 s after SIGTERM, and gets then what was
// stored at 1.2 s; another that stays.
func TestFilm(t *testing.T) {
	zero := time.UnixMilli(1_000_000)
	ms := func(after float64) int64 { return zero.UnixMilli() + int64(after*1000) }
	entries := []entry{
		{seq: 1, stored: time.UnixMilli(ms(0.5)), user: "u"},
		{seq: 2, stored: time.UnixMilli(ms(0.9)), user: "u"},
	}
	f := &film{
		account: newAccount(entries, nil),
		marks:   []mark{{zero, "SIGTERM"}, {zero.Add(time.Second), "ended"}, {zero.Add(1500 * time.Millisecond), "ready"}},
		reports: []report{
			{
				User:        "u",
				Connections: []connection{{At: ms(-10), Until: ms(1)}, {At: ms(2), First: 1, Recovered: true}},
				Got:         []got{{Offset: "1-1", At: ms(0.5)}, {Offset: "1-2", At: ms(2)}},
			},
			{
				User:        "u",
				Connections: []connection{{At: ms(-10)}},
				Got:         []got{{Offset: "1-1", At: ms(0.5)}, {Offset: "1-2", At: ms(0.901)}},
			},
		},
	}
	byTime := make(map[time.Duration]frame)
	frames := f.frames()
	for _, fr := range frames {
		byTime[fr.at] = fr
	}
	for at, want := range map[time.Duration]frame{
		-filmMargin:            {connected: 2},
		900 * time.Millisecond: {connected: 2, p50: 400 * time.Millisecond, p99: 400 * time.Millisecond, most: 400 * time.Millisecond},
		1500 * time.Millisecond: {
			connected: 1, p50: 599 * time.Millisecond, p99: time.Second, most: time.Second,
		},
		2200 * time.Millisecond: {connected: 2, reconnects: 2, late: 1, p50: 200 * time.Millisecond, p99: 1299 * time.Millisecond, most: 1299 * time.Millisecond},
	} {
		if want.at = at; byTime[at] != want {
			t.Errorf("at %v: got %+v, want %+v", at, byTime[at], want)
		}
	}
	d := summary(&row{name: "r"}, &result{film: f, reconnects: 1})
	if d.Late != 1 || d.Fewest != 1 || d.Absence[2] != "1s" || d.Silence[2] != "1.5s" || d.Stops != "1s" || d.Starts != "500ms" {
		t.Errorf("summary: %+v", d)
	}

	picture := string(draw("r", 2, frames, f.marks))
	decoder := xml.NewDecoder(strings.NewReader(picture))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, picture)
		}
	}
	if strings.Count(picture, "<polyline") != 5 || strings.Contains(picture, "NaN") {
		t.Errorf("picture:\n%s", picture)
	}
}
