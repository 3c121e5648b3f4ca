package main

import (
	"context"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/codewar/socketbridge/e2e/procs"
)

// pages are all pages of a row. Those that are there from the start share their users:
// page i is user i modulo their number, so some users have two, each of its own kind. Each
// page that comes later is the only one of its user, and is owed what waited for it.
type pages struct {
	users   []string // by page
	stock   *stockPages
	raw     []*rawPage // those present, then those below
	late    []*rawPage // come while something is broken
	inbox   []*rawPage // come when it is whole again
	running sync.WaitGroup
	ctx     context.Context // of the raw ones
	end     context.CancelFunc
}

// openPages opens every page that is there from the start, and waits until each is mapped to
// its user. On an error the caller still has to close.
func openPages(dir, modules string, b *balancer, s scale) (p *pages, err error) {
	p = &pages{}
	p.ctx, p.end = context.WithCancel(context.Background())
	var stock []stockPage
	for i := range s.stock + s.polling {
		page := stockPage{number: i, user: userName(i % s.users), addr: b.addr(), transport: "websocket"}
		if i >= s.stock {
			page.transport = "polling"
			if page.addr, err = b.sticky(); err != nil {
				return p, err
			}
		}
		stock, p.users = append(stock, page), append(p.users, page.user)
	}
	for range s.raw {
		p.add(b.addr(), userName(len(p.users)%s.users))
	}
	present := len(p.raw)
	for i := range s.late + s.inbox {
		p.add(b.addr(), userName(s.users+i))
	}
	p.late, p.inbox = p.raw[present:present+s.late], p.raw[present+s.late:]
	if p.stock, err = startStock(dir, modules); err != nil {
		return p, err
	}
	if err := p.stock.open(stock, s.options); err != nil {
		return p, err
	}
	p.comeWithin(p.ctx, p.raw[:present], time.Duration(present)*2*time.Millisecond) // thousands at once would keep each other waiting
	return p, procs.WaitFor("every raw page is mapped", procs.StartLimit, func() string {
		for _, page := range p.raw[:present] {
			if err := page.failure.Load(); err != nil {
				return (*err).Error()
			}
			if !page.isReady() {
				return page.user + " is not"
			}
		}
		return ""
	})
}

// add makes a raw page, not yet opened.
func (p *pages) add(addr, user string) {
	page := &rawPage{addr: addr, user: user}
	page.report.Page, page.report.User = len(p.users), user
	p.raw, p.users = append(p.raw, page), append(p.users, user)
}

// come opens a raw page.
func (p *pages) come(page *rawPage) { p.running.Go(func() { page.run(p.ctx) }) }

// comeWithin opens raw pages at random times, and returns when all are open. Those that have
// no time left when ctx ends come at once.
func (p *pages) comeWithin(ctx context.Context, all []*rawPage, d time.Duration) {
	var opening sync.WaitGroup
	for _, page := range all {
		opening.Go(func() {
			select {
			case <-time.After(rand.N(d)):
			case <-ctx.Done():
			}
			p.come(page)
		})
	}
	opening.Wait()
}

// counts says how many messages each page has by now.
func (p *pages) counts() (map[int]int, error) {
	if err := p.stock.count(); err != nil {
		return nil, err
	}
	counts := make(map[int]int, len(p.users))
	maps.Copy(counts, p.stock.counts)
	for _, page := range p.raw {
		counts[page.report.Page] = page.count()
	}
	return counts, nil
}

// reports ends every page and returns what it saw. A raw page that was told
// something strange is an error.
func (p *pages) reports() ([]report, error) {
	all, err := p.stock.reports()
	if err != nil {
		return nil, err
	}
	p.end()
	p.running.Wait()
	for _, page := range p.raw {
		if err := page.failure.Load(); err != nil {
			return nil, *err
		}
		all = append(all, page.final())
	}
	return all, nil
}

func (p *pages) close() {
	p.end()
	p.running.Wait()
	if p.stock != nil {
		p.stock.close()
	}
}
