package config

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/internal/testutil/golden"
)

// TestConfigReference holds docs/configuration.md against the code and the comments of
// config.yaml: `go test ./internal/config -run TestConfigReference -update` writes it.
func TestConfigReference(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`# Configuration

Generated from the code and the comments of [config.yaml](../config.yaml), which can be used as it is. Nothing has to be set.

Each step wins over the one before: default, ` + "`config.yaml` (or `--config FILE`), `.env` in the working directory, environment, flags (`--port`, `--log-level`, `--set key=value`)" + `.
Durations have their unit (` + "`500ms`, `10s`, `24h`" + `), except in the two old variables that count milliseconds. Lists have commas between in variables and flags. A variable that is empty counts as not set.
An unknown key in the file is an error that names it. A secret's variable with ` + "`_FILE`" + ` behind it names a file that holds the secret.
` + "`socketbridge check`" + ` shows what is in effect and who set it, secrets masked; what contradicts is refused there and at start, with exit status 2.
`)
	cfg := Default()
	meanings, titles := commentsOf(t)
	section := ""
	for _, s := range settingsOf(&cfg) {
		name := s.key[:max(0, strings.LastIndexByte(s.key, '.'))]
		if name != section && name != "" {
			fmt.Fprintf(&b, "\n## %s\n\n", name)
			if titles[name] != "" {
				fmt.Fprintf(&b, "%s\n\n", titles[name])
			}
			b.WriteString("| key | variable | type | default | meaning |\n|---|---|---|---|---|\n")
		} else if name == "" {
			b.WriteString("\n## origins\n\n| key | variable | type | default | meaning |\n|---|---|---|---|---|\n")
		}
		section = name
		variable := "`" + s.env() + "`"
		if s.secret() {
			variable += ", `" + s.env() + "_FILE`"
		}
		if old := oldVariables[s.key]; old != "" {
			variable += ", `" + strings.ReplaceAll(old, ", ", "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", s.key, variable, typeOf(s), shownDefault(t, s), strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(meanings[s.key]))
	}
	golden.Check(t, root+"docs/configuration.md", b.Bytes())
}

// TestConfigReferenceNamesWhatWorks: each old variable sets the key that the reference
// puts it at.
func TestConfigReferenceNamesWhatWorks(t *testing.T) {
	values := map[string]string{
		"PORT": "3999", "ORIGIN": "https://a.example", "ALLOWED_ORIGINS": "https://b.example", "SOCKET_TRANSPORTS": "polling",
		"SOCKET_PING_INTERVAL": "1000", "SOCKET_PING_TIMEOUT": "1000", "REDIS_HOST": "redis", "REDIS_PORT": "6380",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
	}
	for key, names := range oldVariables {
		clean(t)
		for name := range strings.SplitSeq(names, ", ") {
			t.Setenv(name, values[name])
		}
		if c := mustLoad(t); !strings.Contains(c.from[key], names) {
			t.Errorf("with %s set, %s is set by %q", names, key, c.from[key])
		}
	}
}

// commentsOf reads what config.yaml says above each key, and above each section.
func commentsOf(t *testing.T) (keys, sections map[string]string) {
	t.Helper()
	text, err := os.ReadFile(root + configFile)
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	keys, sections = map[string]string{}, map[string]string{}
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		for i := 0; i < len(n.Content); i += 2 {
			name, value := n.Content[i], n.Content[i+1]
			comment := strings.Join(strings.Fields(strings.ReplaceAll("\n"+name.HeadComment, "\n#", "\n")), " ")
			if value.Kind == yaml.MappingNode {
				sections[prefix+name.Value] = comment
				walk(prefix+name.Value+".", value)
			} else {
				keys[prefix+name.Value] = comment
			}
		}
	}
	walk("", doc.Content[0])
	delete(sections, "http") // the file's own comment
	return keys, sections
}

func typeOf(s setting) string {
	switch s.field.Interface().(type) {
	case []string:
		return "list"
	case time.Duration:
		return "duration"
	case bridge.Secret:
		return "secret"
	case bool:
		return "true, false"
	case int, int64:
		return "whole number"
	case float64:
		return "number"
	}
	return "text"
}

func shownDefault(t *testing.T, s setting) string {
	t.Helper()
	if v := reflect.Indirect(s.field); v.IsZero() && v.Kind() == reflect.String || v.Kind() == reflect.Slice && v.Len() == 0 {
		return "empty"
	}
	text, err := yaml.Marshal(plain(s.field.Interface()))
	if err != nil {
		t.Fatal(err)
	}
	value := strings.TrimSpace(string(text))
	if list, ok := s.field.Interface().([]string); ok {
		value = strings.Join(list, ",")
	}
	return "`" + value + "`"
}
