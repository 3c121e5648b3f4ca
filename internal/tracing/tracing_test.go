package tracing

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestSampling: the flag of a valid traceparent decides, otherwise the ratio.
func TestSampling(t *testing.T) {
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	collector := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(collector.Close)
	open := func(ratio float64) *Tracer {
		tr, err := Open(t.Context(), Config{collector.URL, ratio}, "n", slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tr.Shutdown(context.Background()) })
		return tr
	}
	none, all := open(0), open(1)
	for header, want := range map[string]struct{ none, all bool }{
		"":                                                        {false, true},
		"nonsense":                                                {false, true},
		"00-" + trace + "-" + parent + "-01":                      {true, true},
		"00-" + trace + "-" + parent + "-03":                      {true, true},
		"00-" + trace + "-" + parent + "-00":                      {false, false},
		"00-" + trace + "-" + parent + "-02":                      {false, false},
		"cc-" + trace + "-" + parent + "-01-new":                  {true, true},
		"00-" + trace + "-" + parent + "-01-new":                  {false, true},
		"ff-" + trace + "-" + parent + "-01":                      {false, true},
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01":    {false, true},
		"00-" + trace + "-" + strings.Repeat("0", 16) + "-01":     {false, true},
		"00-" + strings.ToUpper(trace) + "-" + parent + "-01":     {false, true},
		"00-00000000000000000000000000000001-0000000000000001-00": {false, false},
	} {
		for _, tt := range []struct {
			tracer *Tracer
			want   bool
		}{{none, want.none}, {all, want.all}} {
			s := tt.tracer.Begin("deliver", header, time.Now())
			if (s != nil) != tt.want {
				t.Errorf("ratio %v, %q: sampled %v, want %v", tt.tracer.ratio, header, s != nil, tt.want)
			}
			if s != nil {
				if strings.HasSuffix(header, "1") && tt.tracer == none && !strings.HasPrefix(s.Traceparent(), "00-"+trace+"-") {
					t.Errorf("%q became %q", header, s.Traceparent())
				}
				s.End(time.Now())
			}
		}
	}
	for _, header := range []string{"", "00-" + trace + "-" + parent + "-00"} {
		if n := testing.AllocsPerRun(100, func() { none.Begin("deliver", header, time.Time{}) }); n != 0 {
			t.Errorf("%q: %v allocations for a message that is not sampled", header, n)
		}
	}
	var off *Tracer
	if off.BeginFunc() != nil {
		t.Error("spans without an endpoint")
	}
	var some int
	half := open(0.5)
	for range 1000 {
		if s := half.Begin("deliver", "", time.Now()); s != nil {
			some++
		}
	}
	if some < 400 || some > 600 {
		t.Errorf("ratio 0.5 samples %d of 1000", some)
	}
}
