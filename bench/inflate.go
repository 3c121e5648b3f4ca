package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"
)

// inflater takes compressed messages apart, one at a time (RFC 7692, without context takeover).
type inflater struct {
	r   io.ReadCloser
	out bytes.Buffer
}

func newInflater() *inflater { return &inflater{r: flate.NewReader(nil)} }

// inflate returns the text of a message. It is good until the next call.
func (z *inflater) inflate(small []byte) ([]byte, error) {
	if z == nil {
		return nil, fmt.Errorf("%w: compressed, which nobody has asked for", errFrame)
	}
	const tail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff" // what is left out of a message, and an end
	if err := z.r.(flate.Resetter).Reset(io.MultiReader(bytes.NewReader(small), strings.NewReader(tail)), nil); err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	z.out.Reset()
	if _, err := z.out.ReadFrom(z.r); err != nil {
		return nil, fmt.Errorf("inflate: %w", err)
	}
	return z.out.Bytes(), nil
}
