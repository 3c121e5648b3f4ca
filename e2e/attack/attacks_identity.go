package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// identityMoves claim to be another user, an operator, this machine, or further in the
// stream than the bridge is.
var identityMoves = []move{
	{"forged tokens", func(ctx context.Context, p *peer) error {
		claims := fmt.Sprintf(`{"sub":"good-0","iss":"https://issuer.test","exp":%d}`, time.Now().Add(time.Hour).Unix())
		far := `{"sub":"good-0","iss":"https://issuer.test","exp":1e300,"nbf":1e300}`
		tokens := []string{
			jwt(`{"alg":"none","kid":"attack"}`, claims, ""), jwt(`{"alg":"HS256","kid":"attack"}`, claims, "x"), jwt(`{"alg":"HS256","kid":"real"}`, claims, "x"),
			jwt(fmt.Sprintf(`{"alg":"ES256","kid":"unknown-%d"}`, rand.Int()), claims, "x"), jwt(`{"alg":"HS256","kid":"attack"}`, far, "x"),
			strings.TrimRight(p.Token, "A") + "A", "", "a.b.c",
		}
		return p.guarded().notJoined(ctx, `40{"token":"`+tokens[rand.IntN(len(tokens))]+`"}`)
	}},
	{"user of another", func(ctx context.Context, p *peer) error {
		ws, leave, err := p.guarded().joinedAs(ctx, p.Token)
		if err != nil {
			return err
		}
		defer leave()
		for _, event := range []string{"setUserId", "getConnectionId"} {
			if err := say(ws, fmt.Sprintf(`420["%s","good-%d"]`, event, rand.IntN(users))); err != nil {
				return err
			}
			if got, err := expect(ws, "430"); err != nil {
				return err
			} else if !strings.Contains(got, "FORBIDDEN_USER") {
				return fmt.Errorf("%s of another: %.100s", event, got)
			}
		}
		return nil
	}},
	{"token refresh flood", func(ctx context.Context, p *peer) error {
		ws, leave, err := p.guarded().joinedAs(ctx, p.Token)
		if err != nil {
			return err
		}
		defer leave()
		for range 150 {
			if say(ws, `42["refreshToken","`+strings.Repeat("e", 2000)+`"]`) != nil {
				break
			}
		}
		return wsHangsUp(ws)
	}},
	{"operators' routes", func(ctx context.Context, p *peer) error {
		paths := []string{"/metrics", "/api/v1/users", "/api/v1/users/good-1", "/console", "/messages/1-1", "/debug/pprof/heap"}
		claims := []string{"", "X-Forwarded-For:", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1", "Via: 1.1 proxy"}
		host := []string{"localhost", "127.0.0.1", "[::1]", "a"}
		text := "GET " + paths[rand.IntN(len(paths))] + " HTTP/1.1\r\nHost: " + host[rand.IntN(len(host))] + "\r\n"
		if claim := claims[rand.IntN(len(claims))]; claim != "" {
			text += claim + "\r\n"
		}
		q := p
		if rand.IntN(2) == 0 {
			q = p.guarded()
		}
		return q.talk(ctx, text+"\r\n", http.StatusNotFound, http.StatusForbidden, http.StatusUnauthorized)
	}},
	{"foreign page", func(ctx context.Context, p *peer) error {
		const body = `{"userId":"good-1","topic":"note"}`
		kinds := []string{"application/json", "text/plain", "application/octet-stream", ""}
		return p.guarded().talk(ctx, fmt.Sprintf("POST /sendPayload HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: %s\r\nOrigin: https://evil.test\r\nSec-Fetch-Site: cross-site\r\n"+
			"Content-Type: %s\r\nContent-Length: %d\r\n\r\n%s", p.from, kinds[rand.IntN(len(kinds))], len(body), body), http.StatusForbidden, http.StatusUnauthorized, http.StatusUnsupportedMediaType)
	}},
	{"far offset", func(ctx context.Context, p *peer) error { return p.silences(ctx) }},
}

// jwt is a token with a signature of zeros, or what is given.
func jwt(header, claims, signature string) string {
	enc := base64.RawURLEncoding
	return enc.EncodeToString([]byte(header)) + "." + enc.EncodeToString([]byte(claims)) + "." + enc.EncodeToString([]byte(signature))
}

// joinedAs is joined with a token, quotes escaped by the caller.
func (p *peer) joinedAs(ctx context.Context, token string) (*websocket.Conn, func(), error) {
	ws, leave, err := p.websocket(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	if err = say(ws, `40{"token":"`+token+`"}`); err == nil {
		_, err = expect(ws, "40{")
	}
	if err != nil {
		leave()
		return nil, nil, err
	}
	return ws, leave, nil
}

// silences claims that a user has everything, for years to come, and leaves. A message
// that the bridge then accepts for the user must reach its next socket.
func (p *peer) silences(ctx context.Context) error {
	user := fmt.Sprintf("silent-%d", rand.Int64())
	ws, leave, err := p.joined(ctx)
	if err != nil {
		return err
	}
	if err = say(ws, fmt.Sprintf(`420["setUserId",%q,{"after":"%d-999999999"}]`, user, time.Now().AddDate(9, 0, 0).UnixMilli())); err == nil {
		_, err = expect(ws, "430")
	}
	leave()
	if err != nil {
		return err
	}
	body := fmt.Sprintf(`{"userId":%q,"topic":"heard"}`, user)
	if err := p.request(ctx, http.MethodPost, "/sendPayload?queue=true", strings.NewReader(body), http.StatusAccepted, http.StatusOK); err != nil {
		return err
	}
	ws, leave, err = p.joined(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := say(ws, fmt.Sprintf(`420["setUserId",%q]`, user)); err != nil {
		return err
	}
	if _, err := expect(ws, `42["heard"`); err != nil {
		return errors.Join(errors.New("an accepted message has not arrived"), err)
	}
	return nil
}
