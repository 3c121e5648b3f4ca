package bridge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/codewar/socketbridge/bridge"
)

func TestSecretIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const text = "hunter2"
	s := bridge.Secret(text)
	in := struct {
		Password bridge.Secret
		All      []bridge.Secret
	}{s, []bridge.Secret{s}}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+"\n", s, in, &in)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "secret", s, "in", in)
	}
	asJSON, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(asJSON)
	if hex := fmt.Sprintf("%x", text); strings.Contains(out.String(), text) || strings.Contains(out.String(), hex) {
		t.Errorf("a secret is shown:\n%s", &out)
	}
	if s.Reveal() != text {
		t.Errorf("Reveal: %q", s.Reveal())
	}
	if got := bridge.Secret("").String(); got != "" {
		t.Errorf("an empty secret shows as %q, want nothing", got)
	}
}
