// Package observe holds the dashboard and the alert rules of deploy against the
// running program: a real Prometheus scrapes two bridges under load, every panel
// has data, and every alert is quiet until its fault is there, and fires then.
//
// Prometheus and promtool are Debian's (make deps installs them).
package observe
