package publish

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/codewar/socketbridge/bridge"
)

// publishOptions is what a caller asks for beside the delivery itself.
type publishOptions struct {
	queue bool // the message waits for an offline user
	ack   bool // clients confirm the message
}

// parseOptions reads `?queue=true` or `Prefer: respond-async` (RFC 7240), and `?ack=client`.
// An unknown value is an error. RFC 7240 lets servers ignore unknown preferences; a caller
// that misspells "respond-async" would then be answered with 404.
func parseOptions(r *http.Request) (o publishOptions, err *bridge.InvalidError) {
	if r.URL.RawQuery != "" {
		query, bad := url.ParseQuery(r.URL.RawQuery)
		if bad != nil {
			return o, bridge.InvalidOption("query", "percent-encoded names and values")
		}
		for _, value := range query["queue"] {
			if value != "true" && value != "false" || value != query["queue"][0] {
				return o, bridge.InvalidOption("queue", "true or false")
			}
			o.queue = value == "true"
		}
		for _, value := range query["ack"] {
			if value != bridge.AckClient {
				return o, bridge.InvalidOption("ack", bridge.AckClient)
			}
			o.ack = true
		}
	}
	for _, line := range r.Header["Prefer"] {
		for preference := range strings.SplitSeq(line, ",") {
			switch preference = strings.ToLower(strings.TrimSpace(preference)); {
			case preference == "respond-async":
				o.queue = true
			case preference != "" && !isOtherPreference(preference):
				return o, bridge.InvalidOption("Prefer", "respond-async")
			}
		}
	}
	return o, nil
}

// isOtherPreference reports whether RFC 7240 defines a preference that does not concern
// offline users. HTTP libraries add such preferences.
func isOtherPreference(preference string) bool {
	name, _, _ := strings.Cut(preference, "=")
	name, _, _ = strings.Cut(name, ";")
	return slices.Contains([]string{"return", "wait", "handling"}, strings.TrimSpace(name))
}

// Headers of a call's message. They are shared and must not be changed.
var (
	headerNone      = map[string][]string{}
	headerAck       = map[string][]string{bridge.HeaderAck: {bridge.AckClient}}
	headerDrop      = map[string][]string{bridge.HeaderOffline: {bridge.OfflineDrop}}
	headerAckOrDrop = map[string][]string{bridge.HeaderAck: {bridge.AckClient}, bridge.HeaderOffline: {bridge.OfflineDrop}}
)

// header is the NATS header of the call's message.
func (o publishOptions) header() map[string][]string {
	switch {
	case o.queue && o.ack:
		return headerAck
	case o.queue:
		return headerNone
	case o.ack:
		return headerAckOrDrop
	}
	return headerDrop
}
