package bridgetest

import (
	"context"

	"github.com/codewar/socketbridge/bridge"
)

// History is a [bridge.History] of one process: its index has every payload.
type History struct{ *bridge.Index }

// Read answers from the index.
func (h History) Read(ctx context.Context, q bridge.HistoryQuery) (bridge.Replay, error) {
	if err := context.Cause(ctx); err != nil {
		return bridge.Replay{}, err
	}
	page := h.Index.Read(q)
	if page.Undecided {
		return bridge.Replay{}, bridge.ErrUnavailable
	}
	return page, nil
}
