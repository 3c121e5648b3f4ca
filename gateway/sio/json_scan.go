package sio

import (
	"bytes"
	"encoding/json"
	"iter"
)

// elements yields the elements of the outermost array of b, or the members of its
// outermost object, in order. b must be valid JSON (see [json.Valid]). The slices alias b.
// Nothing is decoded and nothing is allocated.
func elements(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		depth, begin := 0, 0
		for i := 0; i < len(b); i++ {
			switch b[i] {
			case '"':
				i = endOfString(b, i)
			case '[', '{':
				if depth++; depth == 1 {
					begin = i + 1
				}
			case ']', '}':
				if depth--; depth > 0 {
					continue
				}
				if last := bytes.TrimSpace(b[begin:i:i]); len(last) > 0 {
					yield(last)
				}
				return
			case ',':
				if depth > 1 {
					continue
				}
				if !yield(bytes.TrimSpace(b[begin:i:i])) {
					return
				}
				begin = i + 1
			}
		}
	}
}

// endOfString returns the index of the quotation mark that ends the string which begins
// at index i of valid JSON.
func endOfString(b []byte, i int) int {
	for i++; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i
}

// nesting returns how deep the arrays and objects of b are nested, and how many elements or
// members the outermost one has. b must be valid JSON.
func nesting(b []byte) (deepest, outermost int) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = endOfString(b, i)
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		}
	}
	for range elements(b) {
		outermost++
	}
	return deepest, outermost
}

// decodeArray decodes an array of at most maxArguments elements. It does not look into the
// elements, and they alias b.
func decodeArray(b []byte) (out []json.RawMessage, ok bool) {
	if !json.Valid(b) || bytes.TrimSpace(b)[0] != '[' {
		return nil, false
	}
	n := 0
	for range elements(b) {
		if n++; n > maxArguments {
			return nil, false
		}
	}
	out = make([]json.RawMessage, 0, n)
	for e := range elements(b) {
		out = append(out, e)
	}
	return out, true
}
