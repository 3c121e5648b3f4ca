package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/codewar/socketbridge/bridge"
)

// usersQuestion asks a node for its connected users.
type usersQuestion struct {
	Prefix string `json:"prefix"`
	Limit  int    `json:"limit"`
}

// connectedUser is a user who is connected to a node, or to several.
type connectedUser struct {
	User    bridge.UserID   `json:"userId"`
	Sockets int             `json:"sockets"`
	Nodes   []bridge.NodeID `json:"nodes"`
	Since   time.Time       `json:"since"` // of the oldest connection
}

type usersAnswer struct {
	Users []connectedUser `json:"users"`
	Total int             `json:"total"`
}

func (sv *Service) usersHere(q usersQuestion) usersAnswer {
	first, total := sv.deps.Hub.UsersLike(q.Prefix, min(max(q.Limit, 0), maxLimit))
	a := usersAnswer{Total: total}
	for _, u := range first {
		a.Users = append(a.Users, connectedUser{u.User, u.Sockets, []bridge.NodeID{sv.deps.Node}, moment(u.Since)})
	}
	return a
}

// UsersReport is the answer of /api/v1/users: connected users.
type UsersReport struct {
	Users     []connectedUser `json:"users"`
	Total     int             `json:"total"` // when truncated, users on several nodes may count more than once
	Truncated bool            `json:"truncated"`
	Missing   []bridge.NodeID `json:"missing"`
}

// users lists the connected users of the cluster whose ids begin with a prefix, by id.
func (sv *Service) users(ctx context.Context, prefix string, limit int) UsersReport {
	answers, missing := gather[usersAnswer](ctx, sv, queryUsers, usersQuestion{prefix, limit})
	r := UsersReport{Users: []connectedUser{}, Missing: missing}
	byID := make(map[bridge.UserID]int)
	for _, node := range ids(answers) {
		a := answers[node]
		r.Total += a.Total
		for _, u := range a.Users {
			i, known := byID[u.User]
			if !known {
				byID[u.User] = len(r.Users)
				r.Users = append(r.Users, u)
				continue
			}
			r.Total--
			have := &r.Users[i]
			have.Sockets += u.Sockets
			have.Nodes = append(have.Nodes, u.Nodes...)
			if u.Since.Before(have.Since) {
				have.Since = u.Since
			}
		}
	}
	slices.SortFunc(r.Users, func(a, b connectedUser) int { return strings.Compare(string(a.User), string(b.User)) })
	r.Users = r.Users[:min(len(r.Users), limit)]
	r.Truncated = r.Total > len(r.Users)
	return r
}
