package store

import (
	"strings"

	"github.com/codewar/socketbridge/bridge"
)

// keyspace is the grammar of the keys in Redis:
//
//	<prefix>:presence:{<user>}     hash    socket -> <incarnation>|<since, µs>|<token>
//	<prefix>:history:{<user>}      stream  offset of its last message -> see entry.lua
//	<prefix>:last:{<user>}         string  the user's last offset
//	<prefix>:marks:{<user>}        hash    taken, seen; and <withdrawn offset> -> the offset before
//	<prefix>:session:{<pid>}       string  JSON
//	<prefix>:sessions:{<user>}     zset    private id of a session -> when it was saved, µs
//	<prefix>:traces:{<block>}      list    see bridge.TraceBlock
//	<prefix>:canary:{<n>}:<node>   string  see canaries; n so that each master has one
//	<prefix>:{cluster}:nodes       zset    incarnation -> lease deadline, ms by the server's clock
//	<prefix>:{cluster}:joins       string  the newest join number ever given out
//	<prefix>:{cluster}:term        string  the greatest term claimed
//	<prefix>:{cluster}:checkpoint  string  offset
//
// What stands in braces decides the Cluster slot. A user's keys share one, and
// in a Cluster no script call needs two. An incarnation is <node>.<join number>: one stay of a
// node among the living. It never comes back after its lease lapsed.
type keyspace struct {
	prefix string
	nodes, joins,
	term, checkpoint string
}

func newKeyspace(prefix string) keyspace {
	cluster := prefix + ":{cluster}:"
	return keyspace{
		prefix: prefix,
		nodes:  cluster + "nodes", joins: cluster + "joins",
		term: cluster + "term", checkpoint: cluster + "checkpoint",
	}
}

// userKeys are the keys of one user.
type userKeys struct{ history, last, marks, presence string }

// user spells a user's keys. They share one allocation, because the message
// path makes them for every message.
func (k keyspace) user(id bridge.UserID) userKeys {
	tag := escape(string(id))
	var b strings.Builder
	b.Grow(4*(len(k.prefix)+len(tag)) + len(":history:{}:last:{}:marks:{}:presence:{}"))
	key := func(kind string) int {
		b.WriteString(k.prefix)
		b.WriteString(kind)
		b.WriteString(tag)
		b.WriteByte('}')
		return b.Len()
	}
	i := key(":history:{")
	j := key(":last:{")
	l := key(":marks:{")
	key(":presence:{")
	all := b.String()
	return userKeys{history: all[:i], last: all[i:j], marks: all[j:l], presence: all[l:]}
}

// marks is the one that is asked for alone.
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
