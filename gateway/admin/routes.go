package admin

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/codewar/socketbridge/bridge"
	"github.com/codewar/socketbridge/gateway/apierror"
)

// maxLimit bounds every list.
const maxLimit = 1000

// serve adds the routes.
func (sv *Service) serve() {
	get := func(path string, h echo.HandlerFunc) { sv.deps.Server.Operate(http.MethodGet, path, h) }
	get("/api/v1/cluster", sv.getCluster)
	get("/api/v1/series", sv.getSeries)
	get("/api/v1/users", sv.getUsers)
	get("/api/v1/users/:id", sv.getUser)
	get("/api/v1/messages/:offset", sv.getMessage)
	get("/api/v1/dead", sv.getDead)
	get("/api/v1/logs", sv.logs)
	get("/api/v1/loglevel", sv.logLevel)
	sv.deps.Server.Operate(http.MethodPut, "/api/v1/loglevel", sv.setLogLevel)
}

// clusterReport is the whole cluster at one moment.
type clusterReport struct {
	At            time.Time       `json:"at"`
	Node          bridge.NodeID   `json:"node"` // that answers
	Version       string          `json:"version"`
	Revision      string          `json:"revision"`
	Leader        bridge.NodeID   `json:"leader"`
	HistoryTTL    float64         `json:"historyTtlMs"`
	HistoryMax    int             `json:"historyMaxPerUser"`
	TracesKept    int             `json:"tracesKept"`
	Nodes         []NodeState     `json:"nodes"`
	Missing       []bridge.NodeID `json:"missing"`
	SubjectPrefix string          `json:"subjectPrefix"`
}

func (sv *Service) getCluster(c echo.Context) error {
	answers, missing := gather[NodeState](c.Request().Context(), sv, queryState, nil)
	r := clusterReport{
		At: moment(time.Now()), Node: sv.deps.Node, Version: sv.deps.Version, Revision: sv.deps.Revision,
		HistoryTTL: millis(sv.deps.HistoryTTL), HistoryMax: sv.deps.MaxPerUser, TracesKept: sv.deps.Traces,
		Nodes: []NodeState{}, Missing: missing, SubjectPrefix: sv.deps.SubjectPrefix,
	}
	for _, id := range ids(answers) {
		s := answers[id]
		if s.Leader {
			r.Leader = id
		}
		r.Nodes = append(r.Nodes, s)
	}
	return c.JSON(http.StatusOK, r)
}

// seriesQuestion asks a node for its newest samples.
type seriesQuestion struct {
	Seconds int `json:"seconds"`
}

type nodeSeries struct {
	ID bridge.NodeID `json:"id"`
	seriesAnswer
}

func (sv *Service) getSeries(c echo.Context) error {
	seconds, err := number(c, "seconds", seriesLength, seriesLength)
	if err != nil {
		return refuse(c, err, "series")
	}
	answers, missing := gather[seriesAnswer](c.Request().Context(), sv, querySeries, seriesQuestion{seconds})
	nodes := []nodeSeries{}
	for _, id := range ids(answers) {
		nodes = append(nodes, nodeSeries{id, answers[id]})
	}
	return c.JSON(http.StatusOK, map[string]any{
		"at": moment(time.Now()), "everyMs": sampleEvery.Milliseconds(), "nodes": nodes, "missing": missing,
	})
}

func (sv *Service) getUsers(c echo.Context) error {
	limit, err := number(c, "limit", 100, maxLimit)
	if err != nil {
		return refuse(c, err, "users")
	}
	return c.JSON(http.StatusOK, sv.users(c.Request().Context(), c.QueryParam("prefix"), limit))
}

func (sv *Service) getUser(c echo.Context) error {
	const action = "user"
	limit, err := number(c, "limit", 50, maxLimit)
	if err != nil {
		return refuse(c, err, action)
	}
	id, ok := userParam(c)
	if !ok {
		return apierror.Refuse(c, http.StatusBadRequest, bridge.CodeInvalidUserID, "A user id is 1 to 128 printable characters", action)
	}
	return c.JSON(http.StatusOK, sv.report(c.Request().Context(), id, c.QueryParam("topic"), limit))
}

// userParam reads the user in a path. The router has seen it unescaped, unless that
// would have hidden a slash or the like.
func userParam(c echo.Context) (bridge.UserID, bool) {
	id := c.Param("id")
	if c.Request().URL.RawPath != "" {
		unescaped, err := url.PathUnescape(id)
		if err != nil {
			return "", false
		}
		id = unescaped
	}
	return bridge.UserID(id), bridge.ValidUserID(id)
}

func (sv *Service) getMessage(c echo.Context) error {
	const action = "message"
	at, err := bridge.ParseOffset(c.Param("offset"))
	if err != nil {
		return apierror.Refuse(c, http.StatusBadRequest, apierror.InvalidOffset, err.Error(), action)
	}
	r, err := sv.message(c.Request().Context(), at)
	switch {
	case errors.Is(err, bridge.ErrNoRecord):
		return apierror.Refuse(c, http.StatusNotFound, apierror.NotFound, "No trace: never in the stream, or longer ago than traces go back", action)
	case err != nil:
		return apierror.Refuse(c, http.StatusServiceUnavailable, apierror.Unavailable, "The store does not answer", action)
	}
	return c.JSON(http.StatusOK, r)
}

func (sv *Service) getDead(c echo.Context) error {
	const action = "dead"
	limit, err := number(c, "limit", 50, maxLimit)
	if err != nil {
		return refuse(c, err, action)
	}
	letters, total, err := sv.deps.DeadLetters(c.Request().Context(), limit)
	if err != nil {
		return apierror.Refuse(c, http.StatusServiceUnavailable, apierror.Unavailable, "NATS does not answer: "+err.Error(), action)
	}
	if letters == nil {
		letters = []DeadLetter{}
	}
	return c.JSON(http.StatusOK, map[string]any{"total": total, "letters": letters})
}

// parameterError is an invalid query parameter.
type parameterError struct {
	name string
	most int
}

func (e *parameterError) Error() string {
	return e.name + " must be a number from 1 to " + strconv.Itoa(e.most)
}

// number reads a query parameter.
func number(c echo.Context, name string, otherwise, most int) (int, error) {
	text := c.QueryParam(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, &parameterError{name, most}
	}
	return n, nil
}

func refuse(c echo.Context, err error, action string) error {
	return apierror.Refuse(c, http.StatusBadRequest, apierror.InvalidParameter, err.Error(), action)
}
