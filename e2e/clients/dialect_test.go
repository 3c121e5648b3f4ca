package clients

import (
	"encoding/json"
	"net/http"
	"net/url"
)

// dialect is how the client of a language spells its requests and reads what comes. The
// tests have no Swift, Java or Dart; their sources were read for this.
type dialect struct {
	name string
	// query is that of a request; sid is "" for a handshake.
	query func(transport, sid string) string
	// headers are those of every request that differ from Go's.
	headers map[string]string
	// origin makes the Origin of a websocket handshake, nil for none.
	origin      func(host string) string
	contentType string // of a POST
	// join and leave are the CONNECT and DISCONNECT packets of the main namespace, without
	// CONNECT's payload.
	join, leave string
	texts       bool // members of auth are texts
	// resumes: the client keeps the private id and the last text argument, and presents both.
	resumes bool
	// arguments makes of a packet's arguments those that a handler gets.
	arguments func([]json.RawMessage) []json.RawMessage
}

func asTheyAre(arguments []json.RawMessage) []json.RawMessage { return arguments }

var (
	// swift is socket.io-client-swift 16: SocketEngine.createURLs, SocketEnginePollable,
	// SocketManager.connectSocket and Starscream's HTTPWSHeader.createUpgrade. Its handlers
	// get a list of all arguments.
	swift = dialect{
		name: "Swift",
		query: func(transport, sid string) string {
			q := "transport=" + transport
			if transport == "polling" {
				q += "&b64=1"
			}
			q += "&EIO=4"
			if sid != "" {
				q += "&sid=" + url.QueryEscape(sid)
			}
			return q
		},
		headers: map[string]string{
			"User-Agent": "App/1 CFNetwork/1568.200.51 Darwin/24.1.0", "Accept": "*/*", "Accept-Language": "en-GB,en;q=0.9",
		},
		origin:      func(host string) string { return "ws://" + host },
		contentType: "text/plain; charset=UTF-8",
		join:        "40/,",
		leave:       "41/,",
		arguments:   asTheyAre,
	}

	// java is socket.io-client-java 2.1 and engine.io-client-java 2.1: Socket.createTransport,
	// PollingXHR and WebSocket, on OkHttp. Its handlers get all arguments.
	java = dialect{
		name:        "Java",
		query:       inOrder,
		headers:     map[string]string{"User-Agent": "okhttp/3.12.12", "Accept": "*/*"},
		contentType: "text/plain;charset=UTF-8",
		join:        "40",
		leave:       "41",
		texts:       true,
		arguments:   asTheyAre,
	}

	// dart is socket_io_client 3: Socket.sendConnectPacket and emitEvent. A handler gets the
	// one argument, or a list when there are more.
	dart = dialect{
		name:        "Dart",
		query:       inOrder,
		headers:     map[string]string{"User-Agent": "Dart/3.5 (dart:io)"},
		contentType: "text/plain;charset=UTF-8",
		join:        "40",
		leave:       "41",
		resumes:     true,
		arguments: func(arguments []json.RawMessage) []json.RawMessage {
			if len(arguments) < 2 {
				return arguments
			}
			list, _ := json.Marshal(arguments) // of valid JSON
			return []json.RawMessage{list}
		},
	}
)

// inOrder is the query as engine.io-client makes it.
func inOrder(transport, sid string) string {
	q := "EIO=4&transport=" + transport
	if sid != "" {
		q += "&sid=" + url.QueryEscape(sid)
	}
	return q
}

func (d *dialect) header(transport, method, host string) http.Header {
	h := make(http.Header)
	for name, value := range d.headers {
		h.Set(name, value)
	}
	if method == http.MethodPost {
		h.Set("Content-Type", d.contentType)
	}
	if transport == "websocket" && d.origin != nil {
		h.Set("Origin", d.origin(host))
	}
	return h
}
