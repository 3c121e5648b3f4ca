// Package limit has what the limits of the gateway are made of: how fast an
// address may come, how much it may hold, and an account of who was refused.
//
//	Rates    so many a second for each key, in a table of bounded size
//	Counts   so many at a time for each address
//	Listener so many connections at a time, whatever comes on them
//	Flow     so many bytes a second of one connection
//	Memory   so many bytes held for a connection, an address and all clients
//	Tally    how often each limit was reached, as a metric and in the log
//
// Of these only Memory is asked on the path of a message to a browser, and shares nothing
// between connections there unless more than a little waits for the browser. All but Flow are safe for
// concurrent use.
package limit
