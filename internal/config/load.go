package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// Files in the working directory that are read if they exist.
const (
	configFile = "config.yaml"
	dotenvFile = ".env"
)

// AddFlags defines the flags that [Load] reads: --set for any key, and shorthands for a few.
func AddFlags(flags *pflag.FlagSet) {
	flags.String("config", "", "configuration `file`; default: ./"+configFile+" if it exists")
	flags.String("port", "", "`port` of http.addr")
	flags.String("log-level", "", "log `level`: debug, info, warn or error")
	flags.StringArray("set", nil, "any `key=value` of the configuration, such as http.addr=:3005; may be repeated")
}

// Load reads the configuration. Each source overrides the one before: defaults, file, .env file,
// environment, flags. Its error is an [*Error] that lists all problems.
func Load(flags *pflag.FlagSet) (Config, error) {
	l := newLoader()
	named, err := flags.GetString("config")
	if err != nil {
		return Config{}, fmt.Errorf("read flag config: %w", err)
	}
	l.readFile(named)
	dotenv := l.readDotenv()
	l.environment(".env", dotenv, dotenv)
	l.environment("environment", os.Getenv, func(name string) string {
		if v := os.Getenv(name); v != "" {
			return v
		}
		return dotenv(name)
	})
	l.flags(flags)
	return l.finish()
}

// loader collects values by key. Finish decodes only the value of the last source, so a value that
// is overridden is never reported.
type loader struct {
	cfg      Config
	settings []setting
	v        *viper.Viper      // values by key: texts, or what YAML has decoded
	from     map[string]string // source of each value
	problems []problem
}

func newLoader() *loader {
	l := &loader{cfg: Default(), v: viper.New(), from: map[string]string{}}
	l.settings = settingsOf(&l.cfg)
	for _, s := range l.settings {
		l.v.SetDefault(s.key, s.field.Interface())
	}
	return l
}

// set overrides the value of a key.
func (l *loader) set(key string, value any, from string) {
	l.v.Set(key, value)
	l.from[key] = from
}

// refuse records a value that cannot be used.
func (l *loader) refuse(name string, value any, from, why string) {
	l.problems = append(l.problems, newProblem(name, shown(name, value), from, why))
}

// unknown records a key that does not exist. Its value is not shown: it may be a secret under a
// misspelt key.
func (l *loader) unknown(key, from string) {
	l.problems = append(l.problems, newProblem(key, "", from, "unknown key; "+l.allowed(key)))
}

func (l *loader) finish() (Config, error) {
	for _, s := range l.settings {
		from, ok := l.from[s.key]
		if !ok {
			continue
		}
		value := l.v.Get(s.key)
		if want, ok := s.decode(value); !ok {
			l.refuse(s.key, value, from, "must be "+want)
		}
	}
	l.cfg.from = l.from
	if err := errorOf(l.problems); err != nil {
		return Config{}, err
	}
	return l.cfg, l.cfg.Validate()
}

// readFile reads the named file, or config.yaml if no name is given and it exists.
func (l *loader) readFile(named string) {
	path := named
	if path == "" {
		path = configFile
	}
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		l.parseFile(path, text)
	case named == "" && errors.Is(err, fs.ErrNotExist):
	default:
		l.refuse("file", path, "", "must be a file that can be read: "+oneLine(err))
	}
}

// parseFile parses YAML; the name of the file does not matter.
func (l *loader) parseFile(path string, text []byte) {
	f := viper.New()
	f.SetConfigType("yaml")
	err := f.ReadConfig(bytes.NewReader(text))
	if _, ok := errors.AsType[*yaml.TypeError](err); ok {
		l.refuse("file", path, "", "must be keys and values in YAML") // the parser's error quotes the value, which may be a secret
		return
	}
	if err != nil {
		l.refuse("file", path, "", "must be keys and values in YAML: "+oneLine(err))
		return
	}
	keys := f.AllKeys()
	slices.Sort(keys)
	for _, key := range keys {
		value := f.Get(key)
		switch {
		case l.knows(key):
			if value != nil { // a key without a value has its default
				l.set(key, value, path)
			}
		case value == nil && l.names(key) != nil: // a section whose keys are all commented out
		default:
			l.unknown(key, path)
		}
	}
}

// readDotenv returns a function that looks up a variable in the .env file.
func (l *loader) readDotenv() func(string) string {
	text, err := os.ReadFile(dotenvFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.refuse("file", dotenvFile, "", "must be a file that can be read: "+oneLine(err))
	}
	vars, err := parseDotenv(text)
	if err != nil {
		l.refuse("file", dotenvFile, "", "must be lines of the form NAME=value: "+oneLine(err))
	}
	return vars.GetString
}

// parseDotenv parses lines of the form NAME=value. The parser's error quotes the line, which may
// contain a secret, so this error has the line's number instead.
func parseDotenv(text []byte) (*viper.Viper, error) {
	parse := func(text []byte) (*viper.Viper, error) {
		f := viper.New()
		f.SetConfigType("env")
		return f, f.ReadConfig(bytes.NewReader(text))
	}
	vars, err := parse(text)
	if err == nil {
		return vars, nil
	}
	n := 0
	for line := range bytes.Lines(text) {
		n++
		if _, err := parse(line); err != nil {
			return viper.New(), fmt.Errorf("line %d is not", n)
		}
	}
	return viper.New(), errors.New("a quote is left open")
}

// environment reads the variables of all keys. An empty variable counts as not set, because compose
// files and shells export empty variables. get looks in one source; all also looks in the source
// below it, for old names where two variables make one value.
func (l *loader) environment(source string, get, all func(string) string) {
	l.oldNames(source, get, all)
	for _, s := range l.settings {
		if text := get(s.env()); text != "" {
			l.set(s.key, text, source+" "+s.env())
		}
		if s.secret() {
			l.setFromFile(s, source, get)
		}
	}
	if port := get("PORT"); port != "" {
		l.setPort("PORT", port, source+" PORT")
	}
}

// setFromFile reads a secret from the file that NAME_FILE names. Errors never show the variable's
// value, which may be the secret itself.
func (l *loader) setFromFile(s setting, source string, get func(string) string) {
	name := s.env() + "_FILE"
	path := get(name)
	if path == "" {
		return
	}
	if get(s.env()) != "" {
		l.refuse(name, nil, source, "must not be set together with "+s.env())
		return
	}
	text, err := os.ReadFile(path)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // without the path
	}
	if err != nil {
		l.refuse(name, nil, source, "must name a file that can be read: "+oneLine(err))
		return
	}
	value := strings.TrimRight(string(text), "\r\n")
	if value == "" {
		l.refuse(name, nil, source, "must name a file with the secret in it; this one is empty")
		return
	}
	l.set(s.key, value, source+" "+name)
}

// oldNames reads the variables of the Node service and of OpenTelemetry. Variables that are named
// after their key override them.
func (l *loader) oldNames(source string, get, all func(string) string) {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return get(n) != "" })
	}
	if host := all("REDIS_HOST"); host != "" && has("REDIS_HOST", "REDIS_PORT") {
		l.setRedis(host, all("REDIS_PORT"), source)
	}
	if has("ORIGIN", "ALLOWED_ORIGINS") {
		both := slices.Concat(list(all("ORIGIN")), list(all("ALLOWED_ORIGINS")))
		l.set("origins", unique(both), source+" ORIGIN, ALLOWED_ORIGINS")
	}
	if has("SOCKET_TRANSPORTS") {
		l.set("sockets.transports", get("SOCKET_TRANSPORTS"), source+" SOCKET_TRANSPORTS")
	}
	if has("OTEL_EXPORTER_OTLP_ENDPOINT") { // the standard variable of OpenTelemetry
		l.set("traces.endpoint", get("OTEL_EXPORTER_OTLP_ENDPOINT"), source+" OTEL_EXPORTER_OTLP_ENDPOINT")
	}
	l.setMillis("sockets.ping_interval", "SOCKET_PING_INTERVAL", source, get)
	l.setMillis("sockets.ping_timeout", "SOCKET_PING_TIMEOUT", source, get)
}

// setRedis sets redis.addrs from REDIS_HOST and REDIS_PORT.
func (l *loader) setRedis(host, port, source string) {
	if port == "" {
		port = "6379"
	}
	if net.ParseIP(host) == nil && strings.ContainsAny(host, ":/@, ") {
		l.refuse("REDIS_HOST", host, source, "must be a host name or an IP address; for more use REDIS_ADDRS")
		return
	}
	if !validPort(port) {
		// Kubernetes sets REDIS_PORT=tcp://… for a service that is called redis.
		l.refuse("REDIS_PORT", port, source, "must be a port number from 0 to 65535; or use REDIS_ADDRS")
		return
	}
	l.set("redis.addrs", []string{net.JoinHostPort(host, port)}, source+" REDIS_HOST, REDIS_PORT")
}

// setPort replaces the port of http.addr and keeps its host.
func (l *loader) setPort(name, port, from string) {
	if !validPort(port) {
		l.refuse(name, port, from, "must be a port number from 0 to 65535")
		return
	}
	host, _, err := net.SplitHostPort(l.v.GetString("http.addr"))
	if err != nil {
		return // http.addr is invalid and is reported for itself
	}
	l.set("http.addr", net.JoinHostPort(host, port), from)
}

// setMillis sets a duration from a variable in milliseconds.
func (l *loader) setMillis(key, name, source string, get func(string) string) {
	text := get(name)
	if text == "" {
		return
	}
	ms, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		l.refuse(name, text, source, "must be whole milliseconds, such as 25000; with a unit use "+setting{key: key}.env())
		return
	}
	l.set(key, (time.Duration(ms) * time.Millisecond).String(), source+" "+name)
}

func (l *loader) flags(flags *pflag.FlagSet) {
	flags.Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "log-level":
			l.set("log.level", f.Value.String(), "flag --log-level")
		case "set":
			for _, pair := range f.Value.(pflag.SliceValue).GetSlice() {
				l.setPair(pair)
			}
		}
	})
	if f := flags.Lookup("port"); f.Changed { // last, because it changes a part of http.addr
		l.setPort("--port", f.Value.String(), "flag --port")
	}
}

func (l *loader) setPair(pair string) {
	key, text, ok := strings.Cut(pair, "=")
	switch {
	case !ok:
		l.refuse("--set", pair, "", "must be key=value")
	case !l.knows(key):
		l.unknown(key, "flag --set")
	default:
		l.set(key, text, "flag --set")
	}
}

func (l *loader) knows(key string) bool {
	return slices.ContainsFunc(l.settings, func(s setting) bool { return s.key == key })
}

// names lists the keys of a section; nil: there is no such section.
func (l *loader) names(section string) []string {
	var names []string
	for _, s := range l.settings {
		rest, ok := s.key, true
		if section != "" {
			rest, ok = strings.CutPrefix(s.key, section+".")
		}
		if ok {
			name, _, _ := strings.Cut(rest, ".")
			names = append(names, name)
		}
	}
	return unique(names)
}

// allowed lists the keys of the section that an unknown key is in.
func (l *loader) allowed(key string) string {
	section := key
	for section != "" && l.names(section) == nil {
		section = section[:max(0, strings.LastIndexByte(section, '.'))]
	}
	names := strings.Join(l.names(section), ", ")
	if section == "" {
		return "there are " + names
	}
	return section + " has " + names
}
