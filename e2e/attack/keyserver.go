package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
)

// keyServer answers for the keys of tokens: the first request at once, later ones after
// so long that tokens with unknown keys wait.
type keyServer struct {
	url    string
	server *http.Server
}

const keyDelay = 4 * time.Second

func startKeyServer() (*keyServer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	jwk, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "real"}})
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	body, err := json.Marshal(jwkset.JWKSMarshal{Keys: []jwkset.JWKMarshal{jwk.Marshal()}})
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for key requests: %w", err)
	}
	var requests atomic.Int64
	k := &keyServer{url: "http://" + l.Addr().String() + "/keys", server: &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) > 1 {
				select {
				case <-time.After(keyDelay):
				case <-r.Context().Done():
					return
				}
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body) // the client may have left
		}),
	}}
	go func() { _ = k.server.Serve(l) }() // ends with close
	return k, nil
}

func (k *keyServer) close() { _ = k.server.Close() }
