package config

import (
	"fmt"
	"strings"
)

// Error means that the configuration cannot be used. The program then ends with exit status 2.
type Error struct{ problems []problem }

// maxProblems limits the problems that an error lists.
const maxProblems = 10

// Error returns a line for each problem: the key, its value, the source of the value, and what the
// value must be.
func (e *Error) Error() string {
	var lines []string
	for _, p := range e.problems[:min(len(e.problems), maxProblems)] {
		lines = append(lines, p.line)
	}
	if more := len(e.problems) - maxProblems; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// problem is one line of an [Error].
type problem struct{ key, line string }

// newProblem returns a problem of a key, or of everything if key is empty. The value is quoted, with
// secrets masked. Value and its source may be empty.
func newProblem(key, value, from, why string) problem {
	line := key
	if value != "" {
		line += " " + value
	}
	if from != "" {
		line += " (" + from + ")"
	}
	return problem{key, strings.TrimPrefix(line+": "+why, ": ")}
}

// errorOf returns nil if there are no problems.
func errorOf(problems []problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Error{problems}
}
