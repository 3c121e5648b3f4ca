package main

import (
	"cmp"
	"slices"
	"time"
)

// film is what happened when, as far as pages saw it.
type film struct {
	reports []report
	account *account
	marks   []mark
}

// mark is something that was done to the bridges.
type mark struct {
	at   time.Time
	name string
}

func (r *run) mark(name string) { r.marks = append(r.marks, mark{time.Now(), name}) }

// frame is one moment of a film.
type frame struct {
	at         time.Duration // since the first mark
	connected  int           // pages
	reconnects float64       // a second, of the half second that ends here
	// Time since a page's last message: of the page in the middle, of the 99th of a
	// hundred and of the worst.
	p50, p99, most time.Duration
	late           int // messages of the half second that ends here that came more than lateAfter after they were stored
}

const (
	frameEvery = 100 * time.Millisecond
	rateOver   = 500 * time.Millisecond
	lateAfter  = time.Second
	// What is shown before the first mark and after the last.
	filmMargin = 4 * time.Second
)

// frames cuts the film from some seconds before the first mark to some after the last.
func (f *film) frames() (all []frame) {
	zero := f.marks[0].at
	end := f.marks[len(f.marks)-1].at.Add(filmMargin)
	for now := zero.Add(-filmMargin); !now.After(end); now = now.Add(frameEvery) {
		fr := frame{at: now.Sub(zero)}
		ms, from := now.UnixMilli(), now.Add(-rateOver).UnixMilli()
		var silences []time.Duration
		for i := range f.reports {
			p := &f.reports[i]
			for j, c := range p.Connections {
				if c.At <= ms && (c.Until == 0 || ms < c.Until) {
					fr.connected++
				}
				if j > 0 && from < c.At && c.At <= ms {
					fr.reconnects += float64(time.Second) / float64(rateOver)
				}
			}
			after, _ := slices.BinarySearchFunc(p.Got, ms+1, func(g got, at int64) int { return cmp.Compare(g.At, at) })
			if after > 0 {
				silences = append(silences, time.Duration(ms-p.Got[after-1].At)*time.Millisecond)
			}
			for ; after > 0 && p.Got[after-1].At > from; after-- {
				if f.lateness(p, p.Got[after-1]) > lateAfter {
					fr.late++
				}
			}
		}
		slices.Sort(silences)
		fr.p50, fr.p99, fr.most = percentile(silences, 50), percentile(silences, 99), percentile(silences, 100)
		all = append(all, fr)
	}
	return all
}

// lateness is the time from the stream to the page. What the stream does not hold is
// for the judge.
func (f *film) lateness(p *report, g got) time.Duration {
	if e, _ := f.account.find(p.User, g); e != nil {
		return time.Duration(g.At-e.stored.UnixMilli()) * time.Millisecond
	}
	return 0
}

// latenesses of all messages, sorted.
func (f *film) latenesses() (all []time.Duration) {
	for i := range f.reports {
		for _, g := range f.reports[i].Got {
			all = append(all, f.lateness(&f.reports[i], g))
		}
	}
	slices.Sort(all)
	return all
}

// silences is the longest time between two messages of each page, sorted.
func (f *film) silences() (all []time.Duration) {
	for i := range f.reports {
		longest := int64(0)
		for j, g := range f.reports[i].Got {
			longest = max(longest, g.At-f.reports[i].Got[max(j-1, 0)].At)
		}
		all = append(all, time.Duration(longest)*time.Millisecond)
	}
	slices.Sort(all)
	return all
}

// absences is how long each page that came back was without a connection, each time, sorted.
func (f *film) absences() (all []time.Duration) {
	for i := range f.reports {
		for j, c := range f.reports[i].Connections {
			if j > 0 {
				all = append(all, time.Duration(c.At-f.reports[i].Connections[j-1].Until)*time.Millisecond)
			}
		}
	}
	slices.Sort(all)
	return all
}

// percentile of sorted values, by nearest rank; 0 of none.
func percentile[T any](sorted []T, p int) (v T) {
	if len(sorted) == 0 {
		return v
	}
	return sorted[max((len(sorted)*p+99)/100, 1)-1]
}
