// Package bridge is the domain of the socket bridge.
package bridge
