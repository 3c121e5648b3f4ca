package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/logging"
)

// Print writes the configuration as YAML that can be used as config.yaml. Secrets are masked. Values
// other than the default have their source as a comment.
func (c Config) Print(w io.Writer) error {
	root := &yaml.Node{Kind: yaml.MappingNode}
	usual := Default()
	defaults := settingsOf(&usual)
	for i, s := range settingsOf(&c) {
		path := strings.Split(s.key, ".")
		section := root
		for _, name := range path[:len(path)-1] {
			section = subsection(section, name)
		}
		name := &yaml.Node{Kind: yaml.ScalarNode, Value: path[len(path)-1]}
		value := &yaml.Node{}
		if err := value.Encode(masked(s.key, plain(s.field.Interface()))); err != nil {
			return fmt.Errorf("encode %s: %w", s.key, err)
		}
		value.Style |= yaml.FlowStyle // lists on one line
		if !reflect.DeepEqual(s.field.Interface(), defaults[i].field.Interface()) {
			value.LineComment = c.from[s.key]
		}
		section.Content = append(section.Content, name, value)
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(root); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return e.Close()
}

// PrintJSON writes the configuration as one JSON object, without the sources.
func (c Config) PrintJSON(w io.Writer) error {
	var text bytes.Buffer
	if err := c.Print(&text); err != nil {
		return err
	}
	var sections map[string]any
	if err := yaml.Unmarshal(text.Bytes(), &sections); err != nil {
		return fmt.Errorf("read configuration back: %w", err)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(sections)
}

// subsection returns the mapping under name, and appends it if it does not exist.
func subsection(in *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(in.Content); i += 2 {
		if in.Content[i].Value == name {
			return in.Content[i+1]
		}
	}
	sub := &yaml.Node{Kind: yaml.MappingNode}
	in.Content = append(in.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, sub)
	return sub
}

// plain returns a value as it is written in the file.
func plain(value any) any {
	switch v := value.(type) {
	case time.Duration:
		// 24h instead of 24h0m0s.
		s := v.String()
		if strings.HasSuffix(s, "m0s") {
			s = strings.TrimSuffix(s, "0s")
		}
		if strings.HasSuffix(s, "h0m") {
			s = strings.TrimSuffix(s, "0m")
		}
		return s
	case slog.Level:
		return logging.LevelName(v)
	default:
		return value
	}
}

// shown returns a value quoted on one line, with secrets masked; "" for nil.
func shown(key string, value any) string {
	switch v := masked(key, plain(value)).(type) {
	case nil:
		return ""
	case []string:
		return strconv.Quote(strings.Join(v, ","))
	default:
		return strconv.Quote(fmt.Sprint(v))
	}
}

// masked hides the values of secret keys, and the part of addresses before the @. An empty value is
// not hidden, so that a missing secret can be seen.
func masked(key string, value any) any {
	if value != nil && secret(key) { // also a password that YAML parsed as a number
		return bridge.Secret(fmt.Sprint(value)).String()
	}
	switch v := value.(type) {
	case string:
		return maskAddrs(v)
	case []string:
		v = slices.Clone(v)
		for i := range v {
			v[i] = maskAddrs(v[i])
		}
		return v
	default:
		return value
	}
}

// secret reports whether the value of a key must not be shown.
func secret(key string) bool {
	return slices.ContainsFunc(settingsOf(new(Config)), func(s setting) bool { return s.key == key && s.secret() })
}

// maskAddrs hides the user part of each address in a list with commas.
func maskAddrs(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	addrs := strings.Split(text, ",")
	for i, a := range addrs {
		at := strings.LastIndexByte(a, '@')
		if at < 0 {
			continue
		}
		scheme := strings.Index(a, "://")
		if scheme < 0 && i > 0 {
			return bridge.Mask // it may be the rest of a password that contains a comma
		}
		start := 0
		if scheme >= 0 {
			start = scheme + len("://")
		}
		addrs[i] = a[:start] + bridge.Mask + a[at:]
	}
	return strings.Join(addrs, ",")
}

// oneLine returns the text of an error without line breaks.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
