package main

import (
	"context"
	"maps"
	"sync"

	"github.com/codewar/socketbridge/e2e/procs"
)

// pages are all pages of a row: page i is user i modulo the number of users, so
// some users have two, each of its own kind.
type pages struct {
	users   int
	stock   *stockPages
	stocks  int // pages 0 to stocks-1
	raw     []*rawPage
	running sync.WaitGroup
	end     context.CancelFunc // of the raw ones
}

// openPages opens every page and waits until each is mapped to its user. On an
// error the caller still has to close.
func openPages(dir, modules, addr string, s scale) (*pages, error) {
	ctx, end := context.WithCancel(context.Background())
	p := &pages{users: s.users, stocks: s.stock, end: end}
	for i := range s.raw {
		page := &rawPage{addr: addr, user: userName((s.stock + i) % s.users)}
		page.report.Page, page.report.User = s.stock+i, page.user
		p.raw = append(p.raw, page)
		p.running.Go(func() { page.run(ctx) })
	}
	users := make(map[int]string)
	for i := range s.stock {
		users[i] = userName(i % s.users)
	}
	var err error
	if p.stock, err = startStock(dir, modules); err != nil {
		return p, err
	}
	if err := p.stock.open(addr, users, s.options); err != nil {
		return p, err
	}
	return p, procs.WaitFor("every raw page is mapped", procs.StartLimit, func() string {
		for _, page := range p.raw {
			if !page.isReady() {
				return page.user + " is not"
			}
		}
		return ""
	})
}

// counts says how many messages each page has by now.
func (p *pages) counts() (map[int]int, error) {
	if err := p.stock.count(); err != nil {
		return nil, err
	}
	counts := make(map[int]int, p.stocks+len(p.raw))
	maps.Copy(counts, p.stock.counts)
	for i, page := range p.raw {
		counts[p.stocks+i] = page.count()
	}
	return counts, nil
}

func (p *pages) user(page int) string { return userName(page % p.users) }

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
