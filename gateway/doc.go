// Package gateway is what clients see: the sockets of this node by user, what
// browsers may say, /sendPayload, and the operators' routes. The Socket.IO endpoint
// underneath is package sio.
package gateway
