// Package auth says whether a token or an API key is to be believed, and whose it
// is. It knows nothing of sockets and routes: the gateway asks it and acts.
package auth
