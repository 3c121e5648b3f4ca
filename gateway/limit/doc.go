// Package limit has the parts of the gateway's limits. All but ByteRate are safe for concurrent
// use.
//
//	Rates               events a second for each key, in a table of bounded size
//	ConcurrencyLimiter  what an address holds at the same time
//	Listener            open connections, whatever they are used for
//	ByteRate            bytes a second that one connection sends
//	Memory              bytes held for a connection, an address and all clients
//	RefusalCounter      how often each limit was reached, for metrics and the log
//
// Only Memory is on the path of a message to a browser. There it touches no shared counter
// while no more than 4 KiB wait for the browser.
package limit
