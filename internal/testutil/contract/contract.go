// Package contract is for tests: it holds what the program says against its contracts: the
// OpenAPI documents, AsyncAPI, and the schemas in both.
package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/codewar/socketbridge/internal/testutil/npm"
)

// Document is a contract. Safe for concurrent use.
type Document struct {
	root     map[string]any
	compiler *jsonschema.Compiler
}

// Open reads a contract, JSON or YAML. Clients must put up with new fields, so the
// contract allows them; here an object may have only the fields that its schema
// names, so that each one is described.
func Open(t testing.TB, text []byte) *Document {
	t.Helper()
	root := generic(t, text)
	closeObjects(root)
	d := &Document{root: root, compiler: jsonschema.NewCompiler()}
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(location, root); err != nil {
		t.Fatal(err)
	}
	return d
}

// location names the document to the compiler.
const location = "mem:///contract.json"

// generic decodes YAML, of which JSON is a part, as the validator wants it.
func generic(t testing.TB, text []byte) map[string]any {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(again))
	if err != nil {
		t.Fatal(err)
	}
	root, ok := value.(map[string]any)
	if !ok {
		t.Fatalf("the contract is a %T", value)
	}
	return root
}

// closeObjects forbids what no schema names.
func closeObjects(value any) {
	switch v := value.(type) {
	case map[string]any:
		_, described := v["properties"]
		_, decided := v["additionalProperties"]
		if described && !decided && v["type"] == "object" {
			v["additionalProperties"] = false
		}
		for _, inner := range v {
			closeObjects(inner)
		}
	case []any:
		for _, inner := range v {
			closeObjects(inner)
		}
	}
}

// Valid holds the document itself against the official schema of its kind, a file
// of a package that is installed in the directory e2e.
func (d *Document) Valid(t testing.TB, e2e, schema string) {
	t.Helper()
	npm.Need(t, e2e)
	text, err := os.ReadFile(filepath.Join(e2e, "node_modules", filepath.FromSlash(schema)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///official.json", generic(t, text)); err != nil {
		t.Fatal(err)
	}
	official, err := c.Compile("mem:///official.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := official.Validate(d.root); err != nil {
		t.Errorf("the document is not of its kind: %#v", err)
	}
}

// Operations lists "METHOD path" of an OpenAPI document, sorted.
func (d *Document) Operations() []string {
	var all []string
	for path, item := range d.at("paths") {
		for method := range item.(map[string]any) {
			all = append(all, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

// Statuses lists what an operation may answer, sorted.
func (d *Document) Statuses(method, path string) []int {
	var all []int
	for text := range d.at("paths", path, strings.ToLower(method), "responses") {
		n, _ := strconv.Atoi(text) // "default" and ranges are not used
		all = append(all, n)
	}
	slices.Sort(all)
	return all
}

// Answer holds an HTTP answer against the operation that it is of.
func (d *Document) Answer(method, path string, res *http.Response, body []byte) error {
	where := []string{"paths", path, strings.ToLower(method), "responses", strconv.Itoa(res.StatusCode)}
	described := d.at(where...)
	if described == nil {
		return fmt.Errorf("%s %s does not describe a %d", method, path, res.StatusCode)
	}
	for name := range d.at(append(slices.Clone(where), "headers")...) {
		if res.Header.Get(name) == "" {
			return fmt.Errorf("%s %s: %d without the header %s", method, path, res.StatusCode, name)
		}
	}
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	content := append(where, "content")
	if err != nil || d.at(append(slices.Clone(content), kind)...) == nil {
		return fmt.Errorf("%s %s: %d of the type %q, not of %v", method, path, res.StatusCode, res.Header.Get("Content-Type"), slices.Collect(maps.Keys(d.at(content...))))
	}
	var value any = string(body)
	if kind == "application/json" {
		if value, err = jsonschema.UnmarshalJSON(bytes.NewReader(body)); err != nil {
			return fmt.Errorf("%s %s: %d: %w", method, path, res.StatusCode, err)
		}
	}
	if err := d.validate(value, append(content, kind, "schema")...); err != nil {
		return fmt.Errorf("%s %s: %d: %s: %w", method, path, res.StatusCode, body, err)
	}
	return nil
}

// JSON holds a text against the schema at a place of the document.
func (d *Document) JSON(text []byte, place ...string) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	if err := d.validate(value, place...); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	return nil
}

func (d *Document) validate(value any, place ...string) error {
	var pointer strings.Builder
	pointer.WriteString(location + "#")
	for _, p := range place {
		pointer.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1", "%", "%25", "{", "%7B", "}", "%7D").Replace(p))
	}
	schema, err := d.compiler.Compile(pointer.String())
	if err != nil {
		return fmt.Errorf("compile schema: %w", err)
	}
	return schema.Validate(value)
}

// Keys lists what is at a place, sorted.
func (d *Document) Keys(place ...string) []string {
	return slices.Sorted(maps.Keys(d.at(place...)))
}

// List is the list of objects at the last of a place's names.
func (d *Document) List(place ...string) (all []map[string]any) {
	last := len(place) - 1
	items, _ := d.at(place[:last]...)[place[last]].([]any)
	for _, item := range items {
		object, _ := item.(map[string]any)
		all = append(all, object)
	}
	return all
}

// at is the object at a place, nil when there is none.
func (d *Document) at(place ...string) map[string]any {
	here := d.root
	for _, p := range place {
		here, _ = here[p].(map[string]any)
	}
	return here
}

// Route spells a route of echo as OpenAPI does: /messages/:offset is
// /messages/{offset}, and what a star stands for has a name.
func Route(path string) string {
	path = regexp.MustCompile(`:(\w+)`).ReplaceAllString(path, "{$1}")
	return strings.Replace(path, "/*", "/{name}", 1)
}
