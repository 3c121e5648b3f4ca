package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// setting is one leaf of [Config].
type setting struct {
	key    string        // its path in the file, such as "http.reply_timeout"
	field  reflect.Value // where its value is; addressable
	limits string        // its values, of the tag range: ">0s", "1s..", "0..100"; empty: any
}

// env is the variable of this key.
func (s setting) env() string { return strings.ToUpper(strings.ReplaceAll(s.key, ".", "_")) }

// secret reports whether the value must not be shown.
func (s setting) secret() bool { _, ok := s.field.Interface().(bridge.Secret); return ok }

// oldVariables maps keys to variables whose names are not derived from the key.
var oldVariables = map[string]string{
	"http.addr":             "PORT",
	"origins":               "ORIGIN, ALLOWED_ORIGINS",
	"sockets.transports":    "SOCKET_TRANSPORTS",
	"sockets.ping_interval": "SOCKET_PING_INTERVAL",
	"sockets.ping_timeout":  "SOCKET_PING_TIMEOUT",
	"redis.addrs":           "REDIS_HOST, REDIS_PORT",
	"traces.endpoint":       "OTEL_EXPORTER_OTLP_ENDPOINT",
}

// Variables returns the names of all environment variables that [Load] reads.
func Variables() (names []string) {
	for _, s := range settingsOf(new(Config)) {
		names = append(names, s.env())
		if s.secret() {
			names = append(names, s.env()+"_FILE")
		}
		names = append(names, list(oldVariables[s.key])...)
	}
	return names
}

// settingsOf lists the leaves of c in the order of their declaration.
func settingsOf(c *Config) []setting { return appendSettings(nil, "", reflect.ValueOf(c).Elem()) }

func appendSettings(to []setting, section string, v reflect.Value) []setting {
	for f, field := range v.Fields() {
		name := f.Tag.Get("mapstructure")
		switch {
		case name == ",squash":
			to = appendSettings(to, section, field)
		case name == "" || name == "-": // not configuration
		case f.Type.Kind() == reflect.Struct:
			to = appendSettings(to, section+name+".", field)
		default:
			to = append(to, setting{section + name, field, f.Tag.Get("range")})
		}
	}
	return to
}

// decode sets the field from a value of the file or from a text. It returns what the value must be,
// for the error message. It does not guess: a duration needs its unit, and a password that YAML
// parsed as a number is refused.
func (s setting) decode(value any) (want string, ok bool) {
	text, isText := value.(string)
	if !isText {
		text = fmt.Sprint(value)
	}
	var err error
	switch p := s.field.Addr().Interface().(type) {
	case *string:
		*p = text
		return "text; put it in quotes", isText
	case *bridge.Secret:
		*p = bridge.Secret(text)
		return "text; put it in quotes", isText
	case *[]string:
		*p, ok = texts(value)
		return "a list of texts", ok
	case *bool:
		*p, err = strconv.ParseBool(text)
		return "true or false", err == nil
	case *int:
		*p, err = strconv.Atoi(text)
		return "a whole number", err == nil
	case *int64:
		*p, err = strconv.ParseInt(text, 10, 64)
		return "a whole number", err == nil
	case *float64:
		*p, err = strconv.ParseFloat(text, 64)
		return "a number", err == nil
	case *time.Duration:
		*p, err = time.ParseDuration(text)
		return "a duration with its unit, such as 500ms, 10s or 24h", err == nil && isText
	case encoding.TextUnmarshaler:
		err = p.UnmarshalText([]byte(text))
		return "one of debug, info, warn, error", err == nil && isText
	default:
		panic(fmt.Sprintf("config: no decoding for %s of type %T", s.key, p))
	}
}

// outside returns what the value must be if it is not within the limits, else "".
func (s setting) outside() (want string) {
	low, high, _ := strings.Cut(s.limits, "..")
	switch n := s.field.Interface().(type) {
	case time.Duration:
		if s.limits == ">0s" && n <= 0 {
			return "more than 0s"
		}
		if least, err := time.ParseDuration(low); err == nil && n < least {
			return low + " or more"
		}
	case int, int64:
		least, _ := strconv.ParseInt(low, 10, 64)
		most, _ := strconv.ParseInt(high, 10, 64)
		if n := s.field.Int(); s.limits != "" && (n < least || n > most) {
			return low + " to " + high
		}
	}
	return ""
}

// texts decodes a list of the file, or a text with commas.
func texts(value any) ([]string, bool) {
	switch v := value.(type) {
	case string:
		return list(v), true
	case []string:
		return v, true
	case []any:
		out := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, false
			}
			out[i] = s
		}
		return out, true
	default:
		return nil, false
	}
}

// list splits at commas and drops empty parts.
func list(text string) []string {
	out := []string{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// unique drops repetitions and keeps the order.
func unique(in []string) []string {
	var out []string
	for _, s := range in {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
