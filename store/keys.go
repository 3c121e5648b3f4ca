package store

import (
	"strings"

	"github.com/codewar/socketbridge/bridge"
)

// keyspace is the grammar of the keys in Redis:
//
//	<prefix>:presence:{<user>}     hash    socket -> <incarnation>|<since, µs>|<token>
//	<prefix>:marks:{<user>}        hash    taken: the user's delivered offset
//	<prefix>:session:{<pid>}       string  JSON
//	<prefix>:sessions:{<user>}     zset    private id of a session -> when it was saved, µs
//	<prefix>:canary:{<n>}:<node>   string  see canaries; n so that each master has one
//	<prefix>:{cluster}:nodes       zset    incarnation -> lease deadline, ms by the server's clock
//	<prefix>:{cluster}:joins       string  the newest join number ever given out
//	<prefix>:{cluster}:serving     zset    node that serves -> until when, ms by the server's clock
//
// What stands in braces decides the Cluster slot. A user's keys share one, and
// in a Cluster no script call needs two. An incarnation is <node>.<join number>: one stay of a
// node among the living. It never comes back after its lease lapsed.
type keyspace struct {
	prefix                string
	nodes, joins, serving string
}

func newKeyspace(prefix string) keyspace {
	cluster := prefix + ":{cluster}:"
	return keyspace{
		prefix: prefix,
		nodes:  cluster + "nodes", joins: cluster + "joins", serving: cluster + "serving",
	}
}

// presence is where the user's sockets are.
func (k keyspace) presence(id bridge.UserID) string {
	return k.prefix + ":presence:{" + escape(string(id)) + "}"
}

// marks is how far the user's sockets have received.
func (k keyspace) marks(id bridge.UserID) string {
	return k.prefix + ":marks:{" + escape(string(id)) + "}"
}

// sessions is the list of a user's sessions.
func (k keyspace) sessions(id bridge.UserID) string {
	return k.prefix + ":sessions:{" + escape(string(id)) + "}"
}

func (k keyspace) session(pid string) string { return k.prefix + ":session:{" + escape(pid) + "}" }

// canary is the key of a node's canary value with a tag.
func (k keyspace) canary(tag string, node bridge.NodeID) string {
	return k.prefix + ":canary:{" + tag + "}:" + string(node)
}

// An empty tag would not be a tag. A lone percent sign is no escape of anything.
const emptyTag = "%"

// escape spells an id so that it can stand between braces: the braces and the
// percent sign become %7B, %7D and %25, every other byte stays.
func escape(id string) string {
	switch {
	case id == "":
		return emptyTag
	case !strings.ContainsAny(id, "{}%"):
		return id
	default:
		return escaper.Replace(id)
	}
}

// unescape is the inverse of escape.
func unescape(tag string) string {
	if tag == emptyTag {
		return ""
	}
	return unescaper.Replace(tag)
}

var (
	escaper   = strings.NewReplacer("{", "%7B", "}", "%7D", "%", "%25")
	unescaper = strings.NewReplacer("%7B", "{", "%7D", "}", "%25", "%")
)
