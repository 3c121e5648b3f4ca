package observe

import (
	"encoding/json"
	"strings"
	"testing"
)

// dashboard is what the test needs of Grafana's format.
type dashboard struct {
	UID           string  `json:"uid"`
	Title         string  `json:"title"`
	SchemaVersion int     `json:"schemaVersion"`
	Panels        []panel `json:"panels"`
	Templating    struct {
		List []struct{ Name, Type string } `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID         int    `json:"id"`
	Type       string `json:"type"`
	Title      string `json:"title"`
	Datasource struct{ Type, UID string }
	GridPos    struct{ X, Y, W, H int }
	Targets    []struct {
		Expr       string
		RefID      string
		Datasource struct{ Type, UID string }
	} `json:"targets"`
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	if err := json.Unmarshal([]byte(read(t, deployed("grafana/dashboards/socketbridge.json"))), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDashboard: it is one that Grafana takes, whichever data source it is given, asks
// only for what is documented, and its panels do not lie on each other.
func TestDashboard(t *testing.T) {
	t.Parallel()
	d, known := readDashboard(t), documented(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 39 {
		t.Errorf("uid %q, title %q, schema %d", d.UID, d.Title, d.SchemaVersion)
	}
	variables := make(map[string]string)
	for _, v := range d.Templating.List {
		variables[v.Name] = v.Type
	}
	if variables["datasource"] != "datasource" || variables["node"] != "query" {
		t.Errorf("variables %v", variables)
	}
	ids, taken := make(map[int]bool), make(map[[2]int]string)
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("%s: id %d is used twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies on %s, or outside", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s: %d queries to %q", p.Title, len(p.Targets), p.Datasource.UID)
		}
		for _, q := range p.Targets {
			names := metricName.FindAllStringSubmatch(q.Expr, -1)
			if len(names) == 0 || q.Datasource.UID != "${datasource}" {
				t.Errorf("%s: %s asks %q", p.Title, q.Expr, q.Datasource.UID)
			}
			for _, m := range names {
				if !known[m[1]] {
					t.Errorf("%s: metric %s is not in docs/metrics.md", p.Title, m[1])
				}
			}
		}
	}
}

// filled puts values in the place of a query's variables, as Grafana does.
func filled(expr string) string {
	return strings.NewReplacer("$__rate_interval", "5s", "$node", ".*").Replace(expr)
}
