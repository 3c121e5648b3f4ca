package main

import (
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// bannedNames are words that no file name has: pictures, where the field has a term.
var bannedNames = regexp.MustCompile(`graveyard|convoy|desk|visitor|entrance|patience|letgo|paper|verdicts|guess`)

// bannedWords are not in code, comments and documents; each has a term of the field in its place.
var bannedWords = regexp.MustCompile(`(?i)\b(graveyard|convoy|by heart|is believed|are believed|brought up to date|knows better|vitality|whereabouts|farewell)\b`)

// bannedSubjects leave open who acts. Documents name the client, the node or the operator.
var bannedSubjects = regexp.MustCompile(`(?i)\b(nobody|whoever|somebody)\b`)

const maxColumns = 120

// TestStyle holds names, words and the width of documents against CONTRIBUTING.md. Table rows,
// code blocks and generated references may be wider. The changelog and the decisions keep the
// words of their time.
func TestStyle(t *testing.T) {
	out, err := exec.Command("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.go", "*.md", "*.ts", "*.tsx", "*.mjs").Output()
	if err != nil {
		t.Skip("not a git checkout:", err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // deleted, and not yet committed
		}
		history := name == "CHANGELOG.md" || strings.HasPrefix(name, "docs/adr/") || name == "style_test.go"
		if !history && bannedNames.MatchString(path.Base(name)) {
			t.Errorf("%s: name it by the term of the field", name)
		}
		generated := slices.Contains([]string{"docs/configuration.md", "docs/cli.md", "docs/bench/deploy.md", "docs/compatibility.md"}, name)
		block := false
		for i, line := range strings.Split(string(text), "\n") {
			if word := bannedWords.FindString(line); word != "" && !history {
				t.Errorf("%s:%d: %q: use the term of the field", name, i+1, word)
			}
			if path.Ext(name) != ".md" || generated {
				continue
			}
			if strings.HasPrefix(strings.TrimSpace(line), "```") {
				block = !block
			}
			if word := bannedSubjects.FindString(line); word != "" && !history {
				t.Errorf("%s:%d: %q: name the subject", name, i+1, word)
			}
			if !block && len([]rune(line)) > maxColumns && !strings.HasPrefix(strings.TrimSpace(line), "|") {
				t.Errorf("%s:%d: %d columns, at most %d", name, i+1, len([]rune(line)), maxColumns)
			}
		}
	}
}
